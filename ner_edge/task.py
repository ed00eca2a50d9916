"""A task: the labels to find and the instruction that asks for them, stored with the weights."""

import json
from dataclasses import asdict, dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from ner_edge.errors import ModelError, UsageError
from ner_edge.files.atomic import write_text
from ner_edge.files.typed import parse_json, read_json, read_toml
from ner_edge.prompt import TEMPLATES, prompt_prefix, prompt_suffix

TASK_FILE = "ner_edge_task.json"
GGUF_KEY = "ner_edge.task"
_MAX_NAME = 200  # characters
_MAX_INSTRUCTION = 100_000
_MAX_LABEL = 100
_MAX_LABELS = 500


@dataclass(frozen=True)
class Task:
    """A label set with definitions, the instruction that explains it, and a prompt template.

    `ner_edge.prompt` builds prompts from these. Raises `UsageError` for labels that the bracket
    notation cannot hold, for an unknown template, and for a part that is too long.
    """

    name: str
    labels: dict[str, str]
    instruction: str
    template: str = "alpaca"

    def __post_init__(self) -> None:
        for count, what, most in (
            (len(self.name), "characters in its name", _MAX_NAME),
            (len(self.instruction), "characters in its instruction", _MAX_INSTRUCTION),
            (len(self.labels), "labels", _MAX_LABELS),
            (max(map(len, self.labels), default=0), "characters in its longest label", _MAX_LABEL),
        ):
            if count > most:
                raise UsageError(f"task {self.name[:40]!r} has {count} {what}; the limit is {most}")
        if not self.labels:
            raise UsageError(f"task '{self.name}' has no labels")
        for label in self.labels:
            one_word = label.isprintable() and label.split() == [label]
            if not one_word or any(c in "[]|" for c in label):
                raise UsageError(
                    f"task {self.name!r}: label {label!r} must be one printable word without [ ] |"
                )
        if self.template not in TEMPLATES:
            raise UsageError(
                f"task '{self.name}': no template '{self.template}'; "
                f"choose one of {', '.join(TEMPLATES)}"
            )

    @property
    def prefix(self) -> str:
        """The text of the prompt before the sentence, the same for all sentences."""
        return prompt_prefix(self.template, self.instruction)

    @property
    def suffix(self) -> str:
        """The text of the prompt between the sentence and the answer."""
        return prompt_suffix(self.template)

    def to_json(self) -> str:
        """Return the task as one line of JSON, as embedded in a GGUF under `ner_edge.task`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> "Task":
        """Read what `to_json` returns. Raises `ModelError` naming `where` if it is not a task."""
        return _task(parse_json(text, _TaskFile, "a task", where), where, ModelError)

    @classmethod
    def from_toml(cls, path: Path) -> "Task":
        """Read a user's task: `name`, `instruction`, `[labels]`, and optionally `template`."""
        parsed = read_toml(path, _TaskFile, "a task", error=UsageError)
        return _task(parsed, str(path), UsageError)

    def save(self, folder: Path) -> None:
        """Write the task beside an adapter."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=2)
        write_text(text + "\n", str(folder / TASK_FILE))


class _TaskFile(msgspec.Struct, forbid_unknown_fields=True):
    """A task as stored in TOML and JSON."""

    name: str
    labels: dict[str, str]
    instruction: str
    template: str = "alpaca"


def _task(parsed: _TaskFile, where: str, error: type[ModelError] | type[UsageError]) -> Task:
    try:
        return Task(parsed.name, parsed.labels, parsed.instruction, parsed.template)
    except UsageError as problem:
        raise error(f"{where}: not a task ({problem})") from None


def task_files(name: str | None) -> list[Path]:
    """Return the file that `load_task` reads, if `name` is a path."""
    return [Path(name)] if name and name.endswith(".toml") else []


def load_task(name: str) -> Task:
    """Load a built-in task by name or a user's TOML file by path.

    `NAME:TEMPLATE` gives a built-in task another prompt template. Raises `UsageError`.
    """
    if name.endswith(".toml"):
        return Task.from_toml(Path(name))
    name, _, template = name.partition(":")
    builtin = files("ner_edge").joinpath("tasks", f"{name}.toml")
    if not builtin.is_file():
        names = sorted(
            entry.name.removesuffix(".toml")
            for entry in files("ner_edge").joinpath("tasks").iterdir()
            if entry.name.endswith(".toml")
        )
        raise UsageError(
            f"no task '{name}'; built in: {', '.join(names)}; or give the path of a .toml file"
        )
    with as_file(builtin) as path:
        task = Task.from_toml(path)
    return replace(task, template=template) if template else task


def load_saved_task(folder: Path) -> Task | None:
    """Load the task saved beside an adapter; None if there is none."""
    path = folder / TASK_FILE
    if not path.exists():
        return None
    return _task(read_json(path, _TaskFile, "a task"), str(path), ModelError)
