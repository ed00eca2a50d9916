"""An Ollama Modelfile for a model file, with the prompt of its task.

Format: Ollama, `docs/modelfile.md` and `parser/parser.go`; templates are Go's `text/template`.
"""

import re
from pathlib import Path

from ner_edge.errors import UsageError
from ner_edge.gguf.metadata import ModelMetadata
from ner_edge.task import Task

_COMMENT = """\
# Written by `ner-edge export`. To use it: ollama create {name} -f {path.name}
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
# Text that is special in Go's templates or to Ollama's parser: a brace, and the end of a quoted
# string. (`_literal` handles unprintable characters, which the parser drops.)
_SPECIAL = re.compile(r'\{|"(?="")|(?<=")"(?=")|(?<="")"')


def modelfile_path(model: Path) -> Path:
    """Return the path of a model's Modelfile: `name.Modelfile` for `name.gguf`."""
    return model.with_suffix(".Modelfile")


def modelfile(metadata: ModelMetadata) -> str:
    """Write the Modelfile of a model file. Raises `UsageError` if the file contains no task."""
    model = metadata.path
    if metadata.task is None:
        raise UsageError(f"{model}: contains no task, so there is no prompt for a Modelfile")
    lines = [
        _COMMENT.format(name=model.stem.lower(), path=modelfile_path(model)),
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
