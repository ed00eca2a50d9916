"""Temperature scaling (Guo et al. 2017): one number per model that calibrates its scores.

A fully trained model is overconfident. Dividing the log-odds of a score by a temperature above 1
moves it towards one half, without changing which entities are found. The temperature is fitted on
labelled sentences that the model was not trained on. It is stored beside the adapter, and in the
metadata of the GGUF.
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
_LOWEST, _HIGHEST = 0.01, 100.0  # beyond these every score is 0, one half or 1


class _TemperatureFile(msgspec.Struct):
    temperature: float


def scaled(score: float, temperature: float) -> float:
    """Return a probability with its log-odds divided by the temperature."""
    if temperature == 1.0:
        return score
    yes, no = math.pow(score, 1 / temperature), math.pow(1 - score, 1 / temperature)
    return yes / (yes + no)


def parse_temperature(text: str, source: str) -> float:
    """Parse a temperature. Raises `ModelError` naming the source if the text is not one."""
    try:
        temperature = float(text)
    except ValueError:
        temperature = math.nan
    return _checked(temperature, source)


def _checked(temperature: float, source: str) -> float:
    if not _LOWEST <= temperature <= _HIGHEST:
        raise ModelError(
            f"{source}: temperature {temperature:g} is not between {_LOWEST:g} and {_HIGHEST:g}"
        )
    return temperature


def save_temperature(folder: Path, temperature: float) -> None:
    """Save the temperature beside an adapter; `export` copies it into the model file."""
    with atomic_path(folder / TEMPERATURE_FILE) as temporary:
        text = json.dumps({"temperature": round(temperature, 4)})
        temporary.write_text(text + "\n", encoding="utf-8")


def load_saved_temperature(folder: Path) -> float | None:
    """Load the temperature saved beside an adapter; None if there is none."""
    path = folder / TEMPERATURE_FILE
    if not path.exists():
        return None
    return _checked(read_json(path, _TemperatureFile, "a temperature").temperature, str(path))
