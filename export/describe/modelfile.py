"""An Ollama Modelfile for a model file, with the prompt of its task.

Format: Ollama, `docs/modelfile.md` and `parser/parser.go`; templates are Go's `text/template`.
"""

import re
import shlex
from pathlib import Path

from ner_edge.errors import UsageError
from ner_edge.gguf.metadata import ModelMetadata
from ner_edge.task import Task

_COMMENT = """\
# Written by `ner-edge export`. To use it: ollama create {name} -f {file}
#
# Enter one sentence at a time, with spaces between words and punctuation, as in training:
# London 's mayor , Ada Smith , left .
#
# Ollama cannot constrain the answer to a grammar for each sentence, as `ner-edge tag` does. The
# model may drop, change or invent words, or leave a bracket open. Check its answers.
"""
_PARAMETERS = """\
# The answer repeats every word, so repetition must not be penalized.
PARAMETER repeat_penalty 1
PARAMETER temperature 0
# The answer ends at the first newline.
PARAMETER stop "
"
"""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._]+")
"""What the name of a model must not contain (Ollama, `types/model/name.go`)."""
# Text that is special in Go's templates or to Ollama's parser: a brace, and the end of a quoted
# string. (`_literal` handles unprintable characters, which the parser drops.)
_SPECIAL = re.compile(r'\{|"(?="")|(?<=")"(?=")|(?<="")"')


def modelfile_path(model: Path) -> Path:
    """Return the path of a model's Modelfile: `name.Modelfile` for `name.gguf`."""
    return model.with_suffix(".Modelfile")


def check_name(name: str) -> None:
    """Raise `UsageError` if a Modelfile cannot name such a file: Ollama's parser drops what does
    not print, quoted or not, and a line break ends the path."""
    if not name.isprintable():
        raise UsageError(
            f"--modelfile: Ollama cannot open a file named {name!a}, since a character in it does "
            "not print; choose another name with --name"
        )


def modelfile(metadata: ModelMetadata) -> str:
    """Write the Modelfile of a model file.

    Its path needs no quotes: it ends at the line's end, and begins with a dot rather than a quote.
    Raises `UsageError` if the file contains no task.
    """
    model = metadata.path
    if metadata.task is None:
        raise UsageError(f"{model}: contains no task, so there is no prompt for a Modelfile")
    lines = [
        _COMMENT.format(
            name=_NOT_IN_NAMES.sub("-", model.stem.lower()).strip("-._") or "ner",
            file=shlex.quote(f"./{modelfile_path(model).name}"),
        ),
        f"FROM ./{model.name}\n",
        f'TEMPLATE """{template(metadata.task)}"""\n',
        _PARAMETERS,
    ]
    return "".join(lines)


def template(task: Task) -> str:
    """Write the task's prompt as a Go template."""
    return f"{_literal(task.prefix)}{{{{ .Prompt }}}}{_literal(task.suffix)}"


def _literal(text: str) -> str:
    escaped = _SPECIAL.sub(lambda match: _quoted(match[0]), text)
    return "".join(
        char if char.isprintable() or char in "\n\t" else _quoted(char) for char in escaped
    )


def _quoted(char: str) -> str:
    """A template action that prints one character."""
    inside = '\\"' if char == '"' else char if char.isprintable() else f"\\U{ord(char):08x}"
    return f'{{{{ "{inside}" }}}}'
