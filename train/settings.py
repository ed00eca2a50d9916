"""Training settings: command-line flags over a TOML file over a preset, all of them checked."""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ner_edge.errors import UsageError
from ner_edge.files.atomic import write_text
from ner_edge.files.inputs import read_input
from ner_edge.files.typed import MEGABYTE, read_toml

SETTINGS_FILE = "training_settings.json"
_SCALAR = re.compile(r"""[\w.+-]{1,400}|"[\w.+-]*"|'[\w.+-]*'""")
# What must be positive, and the most that any run could mean.
_LARGEST = {
    "rank": 8192,
    "alpha": 10**6,
    "epochs": 10**4,
    "learning_rate": 10.0,
    "max_grad_norm": 1e9,
    "batch_size": 10**6,
    "max_tokens": 10**7,
    "round_every": 10**9,
    "checkpoint_every": 10**9,
}


@dataclass(frozen=True)
class TrainSettings:
    """All that decides a training run apart from the base, the task and the data.

    The defaults are the recipe published for Qwen2.5-7B on CoNLL-2003.
    """

    rank: int = 256
    alpha: int = 512
    epochs: float = 2.0
    learning_rate: float = 2e-5
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    batch_size: int = 8
    """Sentences per optimizer step."""
    max_tokens: int = 2048
    """Tokens of a packed sequence; a batch with more is accumulated over several."""
    dtype: str = "auto"
    """The precision of the frozen base; the adapter is trained in float32. `auto` is bfloat16, or
    float32 on a processor that has no instructions for bfloat16."""
    seed: int = 0
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more work."""
    shard: bool = False
    """Share out the frozen base among the processes of a run: less memory, more traffic."""
    lowercase: float = 0.0
    """Share of the sentences that are trained on a second time, in lower case."""
    round_every: int = 8
    """Optimizer steps for which one rounding serves, in a run that recovers from rounding."""
    checkpoint_every: int = 100
    """Optimizer steps between checkpoints."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is bool and not isinstance(value, bool):
                raise UsageError(f"{field.name} must be true or false, not {value!r}")
            if field.type is int and (isinstance(value, bool) or not isinstance(value, int)):
                raise UsageError(f"{field.name} must be a whole number, not {value!r}")
            if field.type is float and not _is_number(value):
                raise UsageError(f"{field.name} must be a number, not {value!r}")
        for name, largest in _LARGEST.items():
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be positive, not {getattr(self, name)}")
            if getattr(self, name) > largest:
                raise UsageError(f"{name} must be at most {largest:g}, not {getattr(self, name)}")
        if not 0 <= self.weight_decay <= 1:
            raise UsageError(f"weight_decay must lie in [0, 1], not {self.weight_decay}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed must lie in [0, 2^63), not {self.seed}")
        if not 0 <= self.warmup_ratio < 1:
            raise UsageError(f"warmup_ratio must lie in [0, 1), not {self.warmup_ratio}")
        if not 0 <= self.lowercase <= 1:
            raise UsageError(f"lowercase must lie in [0, 1], not {self.lowercase}")
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise UsageError(f"dtype must be auto, bfloat16 or float32, not {self.dtype!r}")

    def save(self, folder: Path, **provenance: Any) -> None:
        """Write the resolved settings, and where base and data came from, beside the adapter."""
        text = json.dumps({**provenance, "settings": asdict(self)}, indent=2)
        write_text(text + "\n", str(folder / SETTINGS_FILE))


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    # For models of 0.1 to 1 billion weights: a smaller adapter, trained harder.
    "edge": {
        "rank": 32,
        "alpha": 64,
        "learning_rate": 1e-3,
        "batch_size": 32,
        "max_tokens": 4096,
    },
}


def resolve_settings(
    preset: str, config: Path | None = None, flags: Mapping[str, Any] | None = None
) -> TrainSettings:
    """Settings from `flags` that are not None, else `config` (TOML), else `preset`.

    Raises `UsageError` on an unknown preset or key and on a value of the wrong type.
    """
    if preset not in PRESETS:
        raise UsageError(f"no preset '{preset}'; choose one of {', '.join(PRESETS)}")
    values = dict(PRESETS[preset])
    if config is not None:
        values.update(_read_file(config))
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    known = [field.name for field in fields(TrainSettings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(f"unknown setting: {', '.join(unknown)} (known: {', '.join(known)})")
    return TrainSettings(**values)


def _read_file(path: Path) -> dict[str, Any]:
    if path.suffix in (".yaml", ".yml"):
        return _read_flat_yaml(path)
    return read_toml(path, dict[str, Any], "TOML with training settings", error=UsageError)


def _read_flat_yaml(path: Path) -> dict[str, Any]:
    """What older versions read: a setting and its value per line, and nothing else of YAML."""
    values: dict[str, Any] = {}
    data = read_input(path, MEGABYTE, error=UsageError)
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text or text == "---":
            continue
        key, colon, value = text.partition(":")
        if not colon or not key.isidentifier() or not _SCALAR.fullmatch(value.strip()):
            raise UsageError(
                f"{path}:{number}: expected a line like 'rank: 4', or write TOML: rank = 4"
            )
        values[key] = _scalar(value.strip())
    return values


def _scalar(text: str) -> int | float | bool | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text.strip("\"'")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 10**15 and math.isfinite(value)
