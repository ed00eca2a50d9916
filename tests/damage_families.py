"""Every kind of file that a command reads, with ways to damage it and commands that read it."""

from dataclasses import dataclass

from damage_bytes import Mutator
from damage_checkpoint import CHECKPOINT_KINDS
from damage_json import JSON_KINDS
from damage_metadata import METADATA_KINDS
from damage_safetensors import SAFETENSORS_KINDS
from damage_settings import (
    config_setting,
    contradict_weights,
    lora_setting,
    manifest_check,
    manifest_lie,
    tokenizer_part,
)
from damage_tensors import TENSOR_KINDS
from damage_text import SETTING_KINDS, TOML_KINDS

GGUF_KINDS = [*METADATA_KINDS, *TENSOR_KINDS]


@dataclass(frozen=True)
class Family:
    """Files of one kind with ways to damage each, and the commands that read them, by name.

    `weight` is the share of cases compared to other families.
    """

    weight: int
    files: dict[str, list[Mutator]]
    commands: dict[str, str]


_RUN = "--threads 1"
_TRAIN = "train data.conll --dry-run --task task.toml -o out"
_SETTINGS = "--config settings.toml"
_BASE_COMMANDS = {
    "export": f"export adapter --base base -q f16 -o out {_RUN}",
    "export q8_0": f"export adapter --base base -q q8_0 -o out --card --modelfile {_RUN}",
    "export lora": "export adapter --base base --adapter-only -o out",
}

FAMILIES = {
    "model": Family(
        12,
        {"model.gguf": GGUF_KINDS, "small.gguf": GGUF_KINDS},
        {
            "info": "info model.gguf",
            "tag": f"tag -m model.gguf {_RUN} text.txt",
            "tag grammar": f"tag -m model.gguf --decoder grammar {_RUN} text.txt",
            "verify": f"verify model.gguf {_RUN}",
            "grammar": "grammar -m model.gguf 'Ada lives in London.'",
            "eval": f"eval data.conll -m model.gguf --no-cache --no-speed {_RUN}",
            "data check -m": "data check data.conll -m model.gguf",
            "export --base": "export --base model.gguf -q f16 -o out --card",
            "export q8_0": f"export --base model.gguf -q q8_0 -o out {_RUN}",
            "export q4_0": f"export --base model.gguf -q q4_0 -o out {_RUN}",
            "export adapter": "export adapter --base model.gguf -q f16 -o out",
            "train --base": f"{_TRAIN} {_SETTINGS} --base model.gguf",
            "train --recover": f"{_TRAIN} {_SETTINGS} --base base --from adapter "
            "--recover model.gguf --imatrix imatrix.gguf",
            "verify --against": "verify model.gguf --against base --adapter adapter",
        },
    ),
    "adapter": Family(
        5,
        {
            "adapter/adapter_config.json": [lora_setting, lora_setting, *JSON_KINDS],
            "adapter/adapter_model.safetensors": SAFETENSORS_KINDS,
            "adapter/ner_edge_task.json": JSON_KINDS,
            "adapter/ner_edge_calibration.json": JSON_KINDS,
            "adapter/training_settings.json": JSON_KINDS,
            "adapter/scores.json": JSON_KINDS,
        },
        {**_BASE_COMMANDS, "train --from": f"{_TRAIN} {_SETTINGS} --base base --from adapter"},
    ),
    "base": Family(
        4,
        {
            "base/config.json": [config_setting, config_setting, contradict_weights, *JSON_KINDS],
            "base/model.safetensors": SAFETENSORS_KINDS,
            "base/tokenizer.json": [tokenizer_part, tokenizer_part, *JSON_KINDS],
            "base/tokenizer_config.json": JSON_KINDS,
            "base/generation_config.json": JSON_KINDS,
        },
        {
            **_BASE_COMMANDS,
            "export base": "export --base base -q f32 --task task.toml -o out",
            "train --base": f"{_TRAIN} {_SETTINGS} --base base",
        },
    ),
    "parts": Family(
        1,
        {
            "parts/model.safetensors.index.json": JSON_KINDS,
            "parts/model-00002-of-00003.safetensors": SAFETENSORS_KINDS,
        },
        {
            "export base": "export --base parts -q f16 -o out",
            "train --base": f"{_TRAIN} {_SETTINGS} --base parts",
        },
    ),
    "task": Family(
        2,
        {"task.toml": TOML_KINDS},
        {
            "data check": "data check data.conll --task task.toml",
            "export --task": "export --base base --task task.toml -q f16 -o out",
            "train --task": f"{_TRAIN} {_SETTINGS} --base base",
        },
    ),
    "settings": Family(
        2,
        {"settings.toml": SETTING_KINDS},
        {"train --config": f"{_TRAIN} {_SETTINGS} --base base"},
    ),
    "recipe": Family(
        1,
        {"recipe.toml": TOML_KINDS},
        {"export --recipe": "export adapter --base base --recipe recipe.toml -o out"},
    ),
    "imatrix": Family(
        2,
        {"imatrix.gguf": GGUF_KINDS},
        {
            "export --imatrix": "export adapter --base base -q q4_0 --imatrix imatrix.gguf "
            f"-o out {_RUN}",
            "train --imatrix": f"{_TRAIN} {_SETTINGS} --base base --from adapter "
            "--recover small.gguf --imatrix imatrix.gguf",
        },
    ),
    "manifest": Family(
        2,
        {"model.json": [manifest_lie, manifest_check, *JSON_KINDS]},
        {
            "verify": f"verify model.gguf {_RUN}",
            "verify --manifest": f"verify model.gguf --manifest {_RUN}",
        },
    ),
    "lora": Family(
        1,
        {"lora.gguf": GGUF_KINDS},
        {
            "info": "info lora.gguf",
            "tag": f"tag -m lora.gguf {_RUN} text.txt",
            "verify": f"verify lora.gguf {_RUN}",
            "export --base": "export --base lora.gguf -q f16 -o out",
        },
    ),
    "checkpoint": Family(
        1,
        {"run/checkpoint.pt": CHECKPOINT_KINDS},
        {
            "train --resume": "train data.conll --task task.toml --config settings.toml "
            "--base base -o run --resume",
        },
    ),
}
