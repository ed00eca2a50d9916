"""Cases for the fuzzer of files: one damaged file among undamaged ones, and commands that read it.

A case follows from its seed and number alone.
"""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from damage_bytes import BLIND
from damage_families import FAMILIES
from damage_places import PLACES, Place
from damage_seen import MUST_FAIL, SEEN, TRIED_ON
from damage_settings import contradict_weights, manifest_lie

ODD_NAMES = ("a\x1b[2Jb", "a\nb", "a\udcff", "\u202eb", "a b", "a%sb{0}", "a\x85", "[red]b")
_COMMANDS_PER_CASE = 2
_REFUSED = {manifest_lie.__name__, contradict_weights.__name__}


@dataclass(frozen=True)
class Command:
    """The arguments of a `ner-edge` command; results are counted under `name`."""

    name: str
    arguments: Sequence[str]

    @property
    def uses_torch(self) -> bool:
        """Whether the command imports torch, which takes seconds."""
        return self.arguments[0] == "train" or "--against" in self.arguments


@dataclass(frozen=True)
class Case:
    """Inputs with `path` damaged: replaced with `data`, changed by `place`, or only renamed."""

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
        """Whether no command may accept the file."""
        return self.kind in _REFUSED or self.what in MUST_FAIL

    def write(self, inputs: Path, folder: Path) -> None:
        """Write the damaged inputs to `folder`."""
        shutil.copytree(inputs, folder, dirs_exist_ok=True)
        path = folder / self.path
        if self.data is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(self.data)
        if self.place is not None:
            self.place(path)


def make_case(inputs: Path, seed: int, number: int) -> Case:
    """Return case `number` of a `seed`, made from the undamaged `inputs`.

    The first cases are those of `SEEN`. Negative numbers are undamaged, one for each family.
    """
    names = list(FAMILIES)
    if number < 0:
        commands = _commands(names[number])
        return Case(number, names[number], "whole", "", "", None, None, commands)
    if number < len(SEEN):
        name, path, what, change = SEEN[number]
        data = change((inputs / path).read_bytes())
        commands = [c for c in _commands(name) if c.name in TRIED_ON[name]]
        return Case(number, name, "seen", what, path, data, None, commands)
    source = Random(f"{seed}:{number}")
    name = source.choices(names, [family.weight for family in FAMILIES.values()])[0]
    case = _random_case(source, inputs, number, name)
    some = source.sample(case.commands, min(_COMMANDS_PER_CASE, len(case.commands)))
    return replace(case, commands=some)


def cases(inputs: Path, seed: int, count: int) -> Iterator[Case]:
    """Return the first `count` cases of a `seed`."""
    return (make_case(inputs, seed, number) for number in range(count))


def _commands(family: str) -> list[Command]:
    return [Command(name, shlex.split(line)) for name, line in FAMILIES[family].commands.items()]


def _random_case(source: Random, inputs: Path, number: int, name: str) -> Case:
    files = FAMILIES[name].files
    file = source.choice(list(files))
    path = "model.gguf" if file == "small.gguf" else file
    case = Case(number, name, "", "", path, None, None, _commands(name))
    sort = source.random()
    if sort < 0.06:
        place = source.choice(PLACES)
        path = source.choice((path, path, path.partition("/")[0]))
        return replace(case, kind=place.__name__, what=path, path=path, place=place)
    data = (inputs / file).read_bytes()
    if sort < 0.08 and "/" not in path and name != "manifest":
        return _with_odd_name(source, replace(case, data=data))
    mutate = source.choice(BLIND if sort < 0.3 else files[file])
    data, what = mutate(source, data)
    return replace(case, kind=mutate.__name__, what=f"{file}: {what}", data=data)


def _with_odd_name(source: Random, case: Case) -> Case:
    name = source.choice(ODD_NAMES) + Path(case.path).suffix
    commands = [
        replace(command, arguments=[name if a == case.path else a for a in command.arguments])
        for command in case.commands
    ]
    return replace(case, kind="odd_name", what=repr(name), path=name, commands=commands)
