"""The standard streams, which may be closed, and text that is safe on a terminal."""

import os
import re
import sys
from contextlib import suppress

from ner_edge.errors import UsageError

# Control characters of ASCII and Latin-1, bidirectional overrides, lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNDECODED = re.compile("[\udc80-\udcff]+")  # Python's stand-ins for undecodable bytes


def printable(text: str, keep: str = "\n\t") -> str:
    """Return text with its control characters, except `keep`, as escapes such as `\\x1b`.

    File names that Python could not decode, as in the C locale, are decoded as UTF-8.
    """
    text = _UNDECODED.sub(lambda match: as_utf8(match[0], "backslashreplace"), text)
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def as_utf8(argument: str, errors: str = "replace") -> str:
    """Return an argument of the command line as UTF-8, however Python decoded it."""
    return os.fsencode(argument).decode("utf-8", errors)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def say(message: str, details: str = "") -> None:
    """Print a message of one line, and lines of details, to standard error.

    Control characters are escaped.
    """
    lines = [printable(message, keep="\t"), *([printable(details)] if details else [])]
    with suppress(OSError):  # such as a full disk, which does not stop the work
        print("\n".join(lines), file=sys.stderr, flush=True)


def open_streams() -> None:
    """Replace standard streams that the caller closed, and write UTF-8 in every locale."""
    # Otherwise the next file opened, such as a model, would receive what native code prints.
    handle = os.open(os.devnull, os.O_RDWR)
    while handle <= 2:
        os.set_inheritable(handle, True)
        handle = os.dup(handle)
    os.close(handle)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    sys.stderr.reconfigure(encoding="utf-8")  # type: ignore[union-attr]


def check_stdin_is_open() -> None:
    """Raise `UsageError` if the caller closed standard input."""
    if sys.__stdin__ is None:
        raise UsageError("standard input is closed: give text files, or pipe a text in")


def check_stdout_is_open() -> None:
    """Raise `UsageError` if the caller closed standard output, so that results would be lost."""
    if sys.__stdout__ is None:
        raise UsageError("standard output is closed, so the results would be lost")
