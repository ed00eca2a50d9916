"""Training settings: command-line flags over a YAML file over a preset, all of them checked."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ner_edge.errors import UsageError

SETTINGS_FILE = "training_settings.json"
_POSITIVE = (
    "rank",
    "alpha",
    "epochs",
    "learning_rate",
    "max_grad_norm",
    "batch_size",
    "max_tokens",
    "round_every",
    "checkpoint_every",
)


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
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be positive, not {getattr(self, name)}")
        if self.weight_decay < 0:
            raise UsageError(f"weight_decay must not be negative, not {self.weight_decay}")
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
        (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")


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
    """Settings from `flags` that are not None, else `config` (YAML), else `preset`.

    Raises `UsageError` on an unknown preset or key and on a value of the wrong type.
    """
    if preset not in PRESETS:
        raise UsageError(f"no preset '{preset}'; choose one of {', '.join(PRESETS)}")
    values = dict(PRESETS[preset])
    if config is not None:
        values.update(_read_yaml(config))
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    known = [field.name for field in fields(TrainSettings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(f"unknown setting: {', '.join(unknown)} (known: {', '.join(known)})")
    return TrainSettings(**values)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such settings file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UsageError(f"{path}{line}: not YAML ({reason})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected lines of 'setting: value'")
    return {str(key): _float_if_exponent(value) for key, value in values.items()}


def _float_if_exponent(value: Any) -> Any:
    """YAML 1.1, which the library reads, takes `1e-4` (without a dot) for text."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
        return float(value)
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
