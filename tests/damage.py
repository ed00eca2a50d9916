"""Damaged inputs of every kind that a command reads, each with the commands that read it.

A case is one damaged file (or a thing that is no file) among whole ones. It depends on its seed
and number alone.
"""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from damage_bytes import BLIND, Mutator
from damage_gguf import GGUF_KINDS
from damage_json import (
    JSON_KINDS,
    config_setting,
    contradict_weights,
    lora_setting,
    manifest_check,
    manifest_lie,
    tokenizer_part,
)
from damage_places import PLACES, Place
from damage_safetensors import SAFETENSORS_KINDS
from damage_text import TOML_KINDS, YAML_KINDS


@dataclass(frozen=True)
class Family:
    """Files of one kind that may be damaged, each in these ways, and by name the command lines that
    read them; `weight` is how many cases it has, compared to others."""

    weight: int
    files: dict[str, list[Mutator]]
    commands: dict[str, str]


_RUN = "--threads 1"
_TRAIN = "train data.conll --dry-run --task task.toml"
_SETTINGS = "--config settings.yaml"
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
            "adapter/ner_edge_temperature.json": JSON_KINDS,
            "adapter/training_settings.json": JSON_KINDS,
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
        {"settings.yaml": YAML_KINDS},
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
            "export --calibrate": "export adapter --base base -q q4_0 --calibrate imatrix.gguf "
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
}
ODD_NAMES = ("a\x1b[2Jb", "a\nb", "a\udcff", "\u202eb", "-", "a b", "a%sb{0}", "a\x85", "[red]b")
_TRIED = 3  # commands of a family for one case
_REFUSED = {manifest_lie.__name__, contradict_weights.__name__}


@dataclass(frozen=True)
class Command:
    """What follows `ner-edge` on a command line; `name` is how it is counted."""

    name: str
    arguments: Sequence[str]

    @property
    def uses_torch(self) -> bool:
        """Does it import torch, which takes seconds?"""
        return self.arguments[0] == "train" or "--against" in self.arguments


@dataclass(frozen=True)
class Case:
    """`path` among the whole inputs is changed: to `data`, or by `place`, or only in its name."""

    number: int
    family: str
    kind: str
    what: str
    path: str
    data: bytes | None
    place: Place | None
    commands: Sequence[Command]

    @property
    def must_fail(self) -> bool:
        """Would accepting it be wrong, whatever the command?"""
        return self.kind in _REFUSED

    def write(self, inputs: Path, folder: Path) -> None:
        """Lay out the whole inputs in `folder`, damaged."""
        shutil.copytree(inputs, folder, dirs_exist_ok=True)
        path = folder / self.path
        if self.data is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(self.data)
        if self.place is not None:
            self.place(path)


def make_case(inputs: Path, seed: int, number: int) -> Case:
    """Case `number` of those with a `seed`, of the whole `inputs`; below 0 nothing is damaged."""
    names = list(FAMILIES)
    if number < 0:
        commands = _commands(FAMILIES[names[number]])
        return Case(number, names[number], "whole", "", "", None, None, commands)
    source = Random(f"{seed}:{number}")
    name = source.choices(names, [family.weight for family in FAMILIES.values()])[0]
    family = FAMILIES[name]
    file = source.choice(list(family.files))
    path = "model.gguf" if file == "small.gguf" else file
    commands = _commands(family)
    commands = source.sample(commands, min(_TRIED, len(commands)))
    case = Case(number, name, "", "", path, (inputs / file).read_bytes(), None, commands)
    sort = source.random()
    if sort < 0.06:
        place = source.choice(PLACES)
        path = source.choice((path, path, path.partition("/")[0]))
        return replace(case, kind=place.__name__, what=path, path=path, data=None, place=place)
    if sort < 0.08 and "/" not in path and name != "manifest":
        return _with_odd_name(source, case)
    mutate = source.choice(BLIND if sort < 0.3 else family.files[file])
    data, what = mutate(source, case.data or b"")
    return replace(case, kind=mutate.__name__, what=f"{file}: {what}", data=data)


def cases(inputs: Path, seed: int, count: int) -> Iterator[Case]:
    """The first `count` cases with a `seed`."""
    return (make_case(inputs, seed, number) for number in range(count))


def _commands(family: Family) -> list[Command]:
    return [Command(name, shlex.split(line)) for name, line in family.commands.items()]


def _with_odd_name(source: Random, case: Case) -> Case:
    name = source.choice(ODD_NAMES) + Path(case.path).suffix
    commands = [
        replace(command, arguments=[name if a == case.path else a for a in command.arguments])
        for command in case.commands
    ]
    return replace(case, kind="odd_name", what=repr(name), path=name, commands=commands)
