"""Temperature scaling (Guo et al. 2017): one number per model that makes its scores honest.

A model that was trained to the end is too sure of itself. Dividing the log-odds of a score by a
temperature above 1 lowers it towards one half; which entities are found does not change. The number
is fitted on labelled sentences that the model was not trained on, and travels with the weights:
beside the adapter, and in the GGUF's metadata.
"""

import json
import math
from pathlib import Path

from ner_edge.atomic import atomic_path
from ner_edge.errors import ModelError

TEMPERATURE_FILE = "ner_edge_temperature.json"
GGUF_KEY = "ner_edge.temperature"


def scaled(score: float, temperature: float) -> float:
    """A probability with its log-odds divided by the temperature."""
    if temperature == 1.0:
        return score
    yes, no = math.pow(score, 1 / temperature), math.pow(1 - score, 1 / temperature)
    return yes / (yes + no)


def parse_temperature(text: str, source: str) -> float:
    """A temperature written as text. Raises `ModelError` naming the source if it is none."""
    try:
        temperature = float(text)
    except ValueError:
        temperature = math.nan
    if not 0.0 < temperature < math.inf:
        raise ModelError(f"{source}: temperature '{text}' is not a number above 0")
    return temperature


def save_temperature(folder: Path, temperature: float) -> None:
    """Write it beside an adapter, from where `export` takes it into the model file."""
    with atomic_path(folder / TEMPERATURE_FILE) as temporary:
        text = json.dumps({"temperature": round(temperature, 4)})
        temporary.write_text(text + "\n", encoding="utf-8")


def load_saved_temperature(folder: Path) -> float | None:
    """The temperature saved beside an adapter, or None if there is none."""
    path = folder / TEMPERATURE_FILE
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))["temperature"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: holds no temperature") from None
    return parse_temperature(str(value), str(path))
