"""An Ollama Modelfile for a model file, with the prompt of its task.

Format: Ollama, `docs/modelfile.md` and `parser/parser.go`; templates are Go's `text/template`.
"""

import re
from pathlib import Path

from ner_edge.errors import UsageError
from ner_edge.gguf.metadata import ModelFacts
from ner_edge.task import Task

_COMMENT = """\
# Written by `ner-edge export`. Use: ollama create {name} -f {path.name}
#
# Give one sentence at a time, its words and punctuation separated by single spaces, as the model
# has seen them: London 's mayor , Ada Smith , left .
#
# Ollama cannot enforce a grammar for each sentence, so the answer is the model's own: it may drop,
# change or invent words, or leave a bracket open, which `ner-edge tag` rules out. Check it.
"""
_PARAMETERS = """\
# Copying repeats every word.
PARAMETER repeat_penalty 1
PARAMETER temperature 0
# An answer ends with its line.
PARAMETER stop "
"
"""
# What Go's templates or Ollama's parser would not take as it stands: a brace, the end of a quoted
# text, and characters that do not print (the parser drops them).
_SPECIAL = re.compile(r'\{|"(?="")|(?<=")"(?=")|(?<="")"')


def modelfile_path(model: Path) -> Path:
    """Where the Modelfile of a model lies: `name.gguf` has `name.Modelfile`."""
    return model.with_suffix(".Modelfile")


def modelfile(facts: ModelFacts) -> str:
    """The Modelfile of the model file that `facts` describe. Raises `UsageError` if there is no
    task in it."""
    model = facts.path
    if facts.task is None:
        raise UsageError(f"{model}: holds no task, so there is no prompt for a Modelfile")
    lines = [
        _COMMENT.format(name=model.stem.lower(), path=modelfile_path(model)),
        f"FROM ./{model.name}\n",
        f'TEMPLATE """{template(facts.task)}"""\n',
        _PARAMETERS,
    ]
    return "".join(lines)


def template(task: Task) -> str:
    """The task's prompt as a Go template."""
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
