"""What makes a model's scores probabilities, and tells how far to trust its reading.

A fully trained model is overconfident. Temperature scaling (Guo et al. 2017) divides the log-odds
of a score by a number above 1 and so moves it towards one half, without changing which entities are
found. Scores of entities that are written and of those found while reading need a temperature each.
All is fitted on labelled sentences that the model was not trained on, and stored beside the adapter
and in the metadata of the GGUF.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import msgspec

from ner_edge.errors import ModelError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.typed import read_json

CALIBRATION_FILE = "ner_edge_calibration.json"
_LOWEST, _HIGHEST = 0.01, 100.0  # beyond these every score is 0, one half or 1


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model. Raises `ValueError` if a value is out of range."""

    temperature: float = 1.0
    """Divides the log-odds of the scores of written entities."""
    read_temperature: float = 1.0
    """Divides those of entities found while reading."""
    threshold: float = 1.0
    """The decoder `auto` writes a sentence up to its last word whose tag is at most so probable."""

    def __post_init__(self) -> None:
        for name in ("temperature", "read_temperature"):
            value = getattr(self, name)
            if not _LOWEST <= value <= _HIGHEST:
                raise ValueError(f"{name} {value:g} is not between {_LOWEST:g} and {_HIGHEST:g}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold:g} is not between 0 and 1")

    def changed(self) -> dict[str, float]:
        """Return the values that were fitted, by name."""
        return {name: value for name, value in asdict(self).items() if value != 1.0}

    def to_metadata(self) -> dict[str, str]:
        """Return the fitted values as GGUF metadata."""
        return {f"ner_edge.{name}": str(value) for name, value in self.changed().items()}

    @classmethod
    def from_metadata(cls, texts: dict[str, str], source: str) -> "Calibration":
        """Read what `to_metadata` returns. Raises `ModelError` naming the source."""
        values = {}
        for key, text in texts.items():
            try:
                values[key.removeprefix("ner_edge.")] = float(text)
            except ValueError:
                raise ModelError(f"{source}: {key} is not a number ({text[:20]!r})") from None
        return _checked(values, source)

    def save(self, folder: Path) -> None:
        """Save the calibration beside an adapter; `export` copies it into the model file."""
        with atomic_path(folder / CALIBRATION_FILE) as temporary:
            text = json.dumps({name: round(value, 6) for name, value in asdict(self).items()})
            temporary.write_text(text + "\n", encoding="utf-8")


KEYS = tuple(f"ner_edge.{field.name}" for field in fields(Calibration))


class _CalibrationFile(msgspec.Struct, forbid_unknown_fields=True):
    temperature: float
    read_temperature: float = 1.0
    threshold: float = 1.0


def load_saved_calibration(folder: Path) -> Calibration:
    """Load the calibration saved beside an adapter; the default one if there is none."""
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return Calibration()
    saved = read_json(path, _CalibrationFile, "a calibration")
    return _checked(msgspec.structs.asdict(saved), str(path))


def _checked(values: dict[str, float], source: str) -> Calibration:
    try:
        return Calibration(**values)
    except ValueError as problem:
        raise ModelError(f"{source}: {problem}") from None


def scaled(score: float, temperature: float) -> float:
    """Return a probability with its log-odds divided by the temperature."""
    if temperature == 1.0:
        return score
    yes, no = math.pow(score, 1 / temperature), math.pow(1 - score, 1 / temperature)
    return yes / (yes + no)
