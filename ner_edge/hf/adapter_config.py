"""A LoRA adapter's `adapter_config.json`, as peft writes it.

Format: https://huggingface.co/docs/peft/main/en/developer_guides/checkpoint.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ner_edge.errors import ModelError
from ner_edge.files.typed import read_json
from ner_edge.hf.safetensors import SafetensorsFile

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

Rank = Annotated[int, Meta(ge=1, le=8192)]
Alpha = Annotated[float, Meta(gt=0, le=1e6)]
Pattern = Annotated[str, Meta(max_length=300)]
_FEW = Meta(max_length=512)  # as many patterns as Python's re keeps compiled
Setting = TypeVar("Setting", int, float)

# Parts of names, with dots and at most two repetitions, but no repeated group: such patterns match
# a name of a hundred characters quickly, whereas `(a+)+` takes forever.
_SIMPLE_PATTERN = re.compile(r"(?:[\w^$|-]|\\[.dw]|\.(?![*+?{])|\((?:\?:)?|\)(?![*+?{]))*")
_REPETITION = re.compile(r"(?:\.|\\[dw]|\[[\w-]+\])[*+]")
_MAX_REPETITIONS = 2


# Settings that change the computation: an adapter with one of them is not plain LoRA.
_MORE_THAN_LORA = (
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)
# Initialisations that do not change the base weights, as others do (pissa, loftq, ...).
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal")


class AdapterConfig(msgspec.Struct):
    """The settings that ner-edge reads."""

    peft_type: str
    lora_alpha: Alpha
    r: Rank = 8
    base_model_name_or_path: str | None = None
    use_rslora: bool = False
    alpha_pattern: Annotated[dict[Pattern, Alpha], _FEW] | None = None
    rank_pattern: Annotated[dict[Pattern, Rank], _FEW] | None = None
    bias: str = "none"
    init_lora_weights: bool | str | None = None
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_pattern: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    beyond: list[str] = []
    """The settings in use that go beyond plain LoRA."""

    def rank(self, module: str) -> int:
        """Return the rank of a module's update."""
        return _of(module, self.rank_pattern, self.r)

    def alpha(self, module: str) -> float:
        """Return the alpha of a module's update."""
        return _of(module, self.alpha_pattern, self.lora_alpha)

    def contradiction(self, module: str, rank: int) -> str | None:
        """Return how an update of `module` with this rank contradicts the settings, or None."""
        if rank != self.rank(module):
            return f"has rank {rank}, the configuration says {self.rank(module)}"
        targets, layers = self.target_modules, self.layers_to_transform
        if targets not in (None, "all-linear") and not _names(targets, module):
            return "is none of the configuration's target_modules"
        if self.exclude_modules and _names(self.exclude_modules, module):
            return "is one of the configuration's exclude_modules"
        layer = re.search(r"\.layers\.(\d+)\.", module)
        if layers is not None and layer:
            chosen = [layers] if isinstance(layers, int) else layers
            if int(layer[1]) not in chosen:
                return "is in none of the configuration's layers_to_transform"
        return None


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Read the settings of the adapter in a folder.

    Raises `ModelError` if there are none, if they are not those of a LoRA, or if they hold a
    regular expression that could take exponential time.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        raise ModelError(f"{folder}: not an adapter (contains no {CONFIG_FILE})")
    config = read_json(path, AdapterConfig, "a LoRA configuration")
    values = read_json(path, dict[str, Any], "a LoRA configuration")
    config.beyond = [key for key in _MORE_THAN_LORA if values.get(key)]
    if config.bias != "none":
        config.beyond.append("bias")
    if config.init_lora_weights not in _PLAIN_INITS:
        config.beyond.append(f"init_lora_weights={config.init_lora_weights}")
    if config.peft_type != "LORA":
        raise ModelError(f"{path}: peft type '{config.peft_type}' cannot be used, only LORA")
    for pattern in _patterns(config):
        repetitions = len(_REPETITION.findall(pattern))
        rest = _REPETITION.sub("", pattern)
        if repetitions > _MAX_REPETITIONS or not _SIMPLE_PATTERN.fullmatch(rest):
            raise ModelError(
                f"{path}: the pattern {pattern[:60]!r} is too complex to be evaluated safely; "
                "list the module names instead"
            )
        try:
            re.compile(pattern)
        except re.error as error:
            raise ModelError(
                f"{path}: {pattern[:60]!r} is not a valid regular expression ({error})"
            ) from None
    return config


def check_adapter(folder: Path) -> None:
    """Raise `ModelError` if the adapter in a folder is damaged or contradicts its settings."""
    config = read_adapter_config(folder)
    file = SafetensorsFile(folder / WEIGHTS_FILE)
    file.check_floats()
    for name, entry in file.entries.items():
        module, half, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
        if half and (problem := config.contradiction(module, entry.shape[0])):
            raise ModelError(f"{folder}: {module} {problem}")


def _patterns(config: AdapterConfig) -> Iterator[str]:
    yield from config.alpha_pattern or {}
    yield from config.rank_pattern or {}
    for modules in (config.target_modules, config.exclude_modules, config.layers_pattern):
        if isinstance(modules, str):
            yield modules


def _names(modules: list[str] | str | None, module: str) -> bool:
    """As in peft: a string is a pattern for the whole path, a list holds paths or their ends."""
    if isinstance(modules, str):
        return re.fullmatch(modules, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in modules or [])


def _of(module: str, patterns: dict[str, Setting] | None, default: Setting) -> Setting:
    """As in peft: the first pattern that matches the end of the module's path decides."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
