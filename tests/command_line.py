"""Run the command line in this process, and check its errors."""

import re
from typing import Any

from typer.testing import CliRunner

from ner_edge.cli.app import app


def run(*arguments: Any, stdin: bytes | str | None = None) -> Any:
    """Return the result of `ner-edge ARGUMENTS`; unexpected exceptions are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_ok(*arguments: Any, stdin: bytes | str | None = None) -> str:
    """Return the standard output of a command that must succeed."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def assert_error(result: Any, pattern: str, exit_code: int = 1, lines: int | None = 1) -> None:
    """Assert that the only output is an error of so many lines, which matches `pattern`."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert lines is None or result.stderr.count("\n") == lines, result.stderr
    assert re.search(pattern, result.stderr), result.stderr
