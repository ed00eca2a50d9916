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
from ner_edge.safetensors_file import SafetensorsFile
from ner_edge.typed import read_json

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

Rank = Annotated[int, Meta(ge=1, le=8192)]
Alpha = Annotated[float, Meta(gt=0, le=1e6)]
Pattern = Annotated[str, Meta(max_length=300)]
_FEW = Meta(max_length=512)  # as many patterns as Python's re keeps compiled
Setting = TypeVar("Setting", int, float)

# A name, or a part of one; dots and at most two repetitions, none of them of a group. On names of
# a hundred characters that cannot take long; `(a+)+` takes for ever.
_SIMPLE_PATTERN = re.compile(r"(?:[\w^$|-]|\\[.dw]|\.(?![*+?{])|\((?:\?:)?|\)(?![*+?{]))*")
_REPETITION = re.compile(r"(?:\.|\\[dw]|\[[\w-]+\])[*+]")
_MAX_REPETITIONS = 2


class AdapterConfig(msgspec.Struct):
    """The settings that are read; the others, which change the arithmetic, must be empty."""

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
    alora_invocation_tokens: Any = None
    arrow_config: Any = None
    fan_in_fan_out: Any = None
    kasa_config: Any = None
    layer_replication: Any = None
    lora_bias: Any = None
    modules_to_save: Any = None
    monteclora_config: Any = None
    target_parameters: Any = None
    trainable_token_indices: Any = None
    use_bdlora: Any = None
    use_dora: Any = None
    use_qalora: Any = None
    velora_config: Any = None

    def rank(self, module: str) -> int:
        """The rank of a module's update."""
        return _of(module, self.rank_pattern, self.r)

    def alpha(self, module: str) -> float:
        """The alpha of a module's update."""
        return _of(module, self.alpha_pattern, self.lora_alpha)


def read_adapter_config(folder: Path) -> AdapterConfig:
    """The settings of the adapter in a folder. Raises `ModelError` if there are none, they are no
    LoRA's, or hold a regular expression that might never end."""
    path = folder / CONFIG_FILE
    if not path.exists():
        raise ModelError(f"{folder}: not an adapter (holds no {CONFIG_FILE})")
    config = read_json(path, AdapterConfig, "a LoRA configuration")
    if config.peft_type != "LORA":
        raise ModelError(f"{path}: peft type '{config.peft_type}' cannot be used, only LORA")
    for pattern in _patterns(config):
        repetitions = len(_REPETITION.findall(pattern))
        rest = _REPETITION.sub("", pattern)
        if repetitions > _MAX_REPETITIONS or not _SIMPLE_PATTERN.fullmatch(rest):
            raise ModelError(
                f"{path}: the pattern {pattern[:60]!r} is too complex to be evaluated safely; "
                "write the modules' names"
            )
        try:
            re.compile(pattern)
        except re.error as error:
            raise ModelError(f"{path}: {pattern[:60]!r} is no pattern ({error})") from None
    return config


def check_adapter(folder: Path) -> None:
    """Raise `ModelError` if the adapter in a folder is damaged, or its weights have other ranks
    than its settings say."""
    config = read_adapter_config(folder)
    file = SafetensorsFile(folder / WEIGHTS_FILE)
    file.check_floats()
    for name, entry in file.entries.items():
        module, half, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
        if half and entry.shape[0] != config.rank(module):
            raise ModelError(
                f"{folder}: {module} has rank {entry.shape[0]}, "
                f"the configuration says {config.rank(module)}"
            )


def _patterns(config: AdapterConfig) -> Iterator[str]:
    yield from config.alpha_pattern or {}
    yield from config.rank_pattern or {}
    for modules in (config.target_modules, config.exclude_modules, config.layers_pattern):
        if isinstance(modules, str):
            yield modules


def _of(module: str, patterns: dict[str, Setting] | None, default: Setting) -> Setting:
    """As in peft: the first pattern that matches the end of the module's path decides."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
