"""Imported first by every Python script here, to run it with the Python of the clone's .venv.

Without a .venv, the script runs with the Python that started it.
"""

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
NEWS = ROOT / "examples" / "news.conll"
_PYTHON = ROOT / ".venv" / "bin" / "python"

if _PYTHON.exists() and Path(sys.executable) != _PYTHON:
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])
sys.path.append(str(ROOT / "tests"))  # some scripts share the tests' inputs


def parser(description: str | None) -> ArgumentParser:
    """Return a parser whose help begins with the script's docstring."""
    return ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)


def _print_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a missing library or a user's mistake in one line, anything else as a traceback."""
    if isinstance(error, ModuleNotFoundError):
        print(f"error: {error}; scripts/test installs what scripts need", file=sys.stderr)
    elif any(base.__qualname__ == "NerEdgeError" for base in kind.__mro__):
        print(f"error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _print_error
