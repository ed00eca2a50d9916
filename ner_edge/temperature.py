"""Temperature scaling (Guo et al. 2017): one number per model that makes its scores honest.

A model that was trained to the end is too sure of itself. Dividing the log-odds of a score by a
temperature above 1 lowers it towards one half; which entities are found does not change. The number
is fitted on labelled sentences that the model was not trained on, and travels with the weights:
beside the adapter, and in the GGUF's metadata.
"""

import json
import math
from pathlib import Path

import msgspec

from ner_edge.errors import ModelError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.typed import read_json

TEMPERATURE_FILE = "ner_edge_temperature.json"
GGUF_KEY = "ner_edge.temperature"
_LOWEST, _HIGHEST = 0.01, 100.0  # beyond, every score is 0, one half or 1


class _TemperatureFile(msgspec.Struct):
    temperature: float


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
    return _checked(temperature, source)


def _checked(temperature: float, source: str) -> float:
    if not _LOWEST <= temperature <= _HIGHEST:
        raise ModelError(
            f"{source}: temperature {temperature:g} is not from {_LOWEST:g} to {_HIGHEST:g}"
        )
    return temperature


def save_temperature(folder: Path, temperature: float) -> None:
    """Write it beside an adapter, from where `export` takes it into the model file."""
    with atomic_path(folder / TEMPERATURE_FILE) as temporary:
        text = json.dumps({"temperature": round(temperature, 4)})
        temporary.write_text(text + "\n", encoding="utf-8")


def load_saved_temperature(folder: Path) -> float | None:
    """The temperature saved beside an adapter, or None if there is none."""
    path = folder / TEMPERATURE_FILE
    if not path.exists():
        return None
    return _checked(read_json(path, _TemperatureFile, "a temperature").temperature, str(path))
