"""Training settings: `--set` overrides a TOML file, which overrides a preset."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ner_edge.errors import UsageError
from ner_edge.files.inputs import read_input
from ner_edge.files.typed import MEGABYTE, read_toml
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.train.augment import AUGMENTATIONS

# Settings that must be positive, with the largest sensible value of each.
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
    "dev_sentences": 10**9,
}
_SHARES = ("weight_decay", *AUGMENTATIONS, "causal_share", "passages")  # settings in [0, 1]


@dataclass(frozen=True)
class TrainSettings:
    """Everything that determines a training run, apart from the base, the task and the data.

    The defaults are the recipe published for Qwen2.5-7B on CoNLL-2003. Raises `UsageError` if a
    value has the wrong type or is out of range.
    """

    rank: int = 256
    alpha: int = 512
    epochs: float = 2.0
    learning_rate: float = 2e-5
    warmup_ratio: float = 0.1
    """Share of the steps over which the learning rate rises to `learning_rate`."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    batch_size: int = 8
    """Sentences per optimizer step."""
    max_tokens: int = 2048
    """Tokens per packed sequence; gradients of a longer batch are accumulated over several."""
    dtype: str = "auto"
    """Precision of the frozen base; the adapter is trained in float32. `auto` means bfloat16, or
    float32 on a CPU without bfloat16 instructions."""
    seed: int = 0
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more work."""
    shard: bool = False
    """Split the frozen base among the processes of `torchrun`: less memory, more traffic."""
    lowercase: float = 0.0
    """Share of the sentences that are added to the training data in lower case."""
    uppercase: float = 0.0
    """Likewise, in upper case."""
    unpunctuated: float = 0.0
    """Likewise, without punctuation marks."""
    noise: float = 0.0
    """Likewise, with one to three misspelt words."""
    swap_names: float = 0.0
    """Likewise, with other entities of the same labels."""
    passages: float = 0.0
    """Share of the text that is read in passages, consecutive sentences of a document; they are
    tagged but not written, so it needs `reading = both`."""
    reading: str = "causal"
    """`both`: a sentence attends to itself in both directions while it is read, and a word head is
    trained to tag it; `causal`: as the base model reads."""
    causal_share: float = 0.1
    """Share of the sentences that are read causally all the same, as other tools read them."""
    word_loss: float = 1.0
    """Weight of the word head's loss beside that of the answer."""
    early_loss: float = 0.25
    """Weight of the word heads after earlier layers, relative to the last one's; 0: none."""
    word_rate: float = 2.0
    """Learning rate of the word heads, relative to the adapter's."""
    round_every: int = 8
    """Optimizer steps between two roundings of the weights when recovering from quantization."""
    checkpoint_every: int = 100
    """Optimizer steps between checkpoints."""
    keep_best: bool = False
    """Keep the adapter of the checkpoint with the best mean F1 on the dev files, not the last."""
    dev_sentences: int = 300
    """The most sentences of a dev file to measure at a checkpoint."""

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
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed must be in [0, 2^63), not {self.seed}")
        if not 0 <= self.warmup_ratio < 1:
            raise UsageError(f"warmup_ratio must be in [0, 1), not {self.warmup_ratio}")
        if self.reading not in ("causal", "both"):
            raise UsageError(f"reading must be causal or both, not {self.reading!r}")
        for name in ("word_loss", "early_loss", "word_rate"):
            if not 0 <= getattr(self, name) <= 1000:
                raise UsageError(f"{name} must be in [0, 1000], not {getattr(self, name)}")
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise UsageError(f"dtype must be auto, bfloat16 or float32, not {self.dtype!r}")


_TYPES: dict[str, Any] = {field.name: field.type for field in fields(TrainSettings)}

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    # For models of 0.1 to 1 billion weights: a smaller adapter and a higher learning rate.
    "edge": {
        "rank": 32,
        "alpha": 64,
        "learning_rate": 1e-3,
        "batch_size": 32,
        "max_tokens": 4096,
    },
}


def resolve_settings(
    preset: str,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    start: Path | None = None,
) -> TrainSettings:
    """Return the settings of `preset`, overridden by the TOML file `config` and then by `flags`.

    Unless they say how to read, it is as the adapter in the folder `start` reads: both ways if it
    has a word head. Raises `UsageError`, naming the file or the `--set`, on an unknown name or a
    wrong value.
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: no such preset; choose from: {', '.join(PRESETS)}")
    settings = TrainSettings(**PRESETS[preset])
    if start is not None and (start / HEAD_FILE).exists():
        settings = replace(settings, reading="both")
    if config is not None:
        settings = _override(settings, _read_file(config), str(config))
    for name, value in (flags or {}).items():
        settings = _override(settings, {name: value}, f"--set {name}={value}")
    return settings


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the values of `NAME=VALUE` texts by name; the last one wins.

    A value that is not of its setting's type stays text, which `TrainSettings` refuses. Raises
    `UsageError` on a text without `=`.
    """
    values = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected NAME=VALUE, like rank=4")
        values[name.strip()] = _typed(name.strip(), value.strip())
    return values


def _typed(name: str, text: str) -> Any:
    kind = _TYPES.get(name, str)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    with suppress(ValueError):
        return kind(text)
    return text


def _override(settings: TrainSettings, values: Mapping[str, Any], source: str) -> TrainSettings:
    unknown = ", ".join(sorted(values.keys() - _TYPES.keys()))
    if unknown:
        raise UsageError(f"{source}: unknown setting: {unknown} (known: {', '.join(_TYPES)})")
    try:
        return replace(settings, **values)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def _read_file(path: Path) -> dict[str, Any]:
    if path.suffix in (".yaml", ".yml"):
        raise _yaml_error(path)
    return read_toml(path, dict[str, Any], "TOML with training settings", error=UsageError)


def _yaml_error(path: Path) -> UsageError:
    """Return the error for an old settings file, which shows its settings as TOML."""
    text = read_input(path, MEGABYTE, error=UsageError).decode("utf-8", "replace")
    found = dict(re.findall(r"^(\w+)[ \t]*:[ \t]*([^\s#]+)", text, re.MULTILINE))
    values = {name: _typed(name, value.strip("\"'")) for name, value in found.items()}
    # Numbers, strings and booleans are written alike in JSON and TOML.
    lines = [f"{name} = {json.dumps(values[name])}" for name in _TYPES if name in values]
    if not lines:
        return UsageError(f"{path}: settings files are TOML, with lines like rank = 4")
    message = f"{path}: settings files are TOML, not YAML; save these lines as a .toml file:"
    return UsageError(message, "\n".join(lines))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 10**15 and math.isfinite(value)
