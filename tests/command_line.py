"""Run the command line in this process, and say what a good error looks like."""

import re
from typing import Any

from typer.testing import CliRunner

from ner_edge.cli.app import app


def run(*arguments: Any, stdin: bytes | str | None = None) -> Any:
    """The result of `ner-edge ARGUMENTS`; an unforeseen exception is raised, not swallowed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_ok(*arguments: Any, stdin: bytes | str | None = None) -> str:
    """What a command that must succeed prints on standard output."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def assert_error(result: Any, pattern: str, exit_code: int = 1, lines: int | None = 1) -> None:
    """Only an error on standard error, in so many lines, that says `pattern`."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert lines is None or result.stderr.count("\n") == lines, result.stderr
    assert re.search(pattern, result.stderr), result.stderr
