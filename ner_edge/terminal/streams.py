"""The standard streams: what may be missing of them, and what a terminal would obey."""

import os
import re
import sys
from contextlib import suppress

from ner_edge.errors import UsageError

# Controls of ASCII and of Latin-1, marks that turn the order of what follows, halves of characters.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNDECODED = re.compile("[\udc80-\udcff]+")  # what Python makes of bytes that it cannot decode


def printable(text: str, keep: str = "\n\t") -> str:
    """Foreign text with what a terminal would obey, other than `keep`, as escapes like `\\x1b`.

    File names that Python could not decode, as in the C locale, are read as UTF-8.
    """
    text = _UNDECODED.sub(lambda match: as_utf8(match[0], "backslashreplace"), text)
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def as_utf8(argument: str, errors: str = "replace") -> str:
    """A text from the command line, which Python may have decoded otherwise, read as UTF-8."""
    return os.fsencode(argument).decode("utf-8", errors)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def say(message: str, details: str = "") -> None:
    """Print a message, one line, and lines of details to standard error, with the foreign names in
    them made printable."""
    lines = [printable(message, keep="\t"), *([printable(details)] if details else [])]
    with suppress(OSError):  # a full disk, say, is no reason not to go on
        print("\n".join(lines), file=sys.stderr, flush=True)


def open_streams() -> None:
    """Put something in the place of standard streams that the caller closed, and write UTF-8 to
    the others in every locale."""
    # Or the next file that is opened, a model say, would get what native code prints.
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
    """Raise `UsageError` if the caller closed standard input, and so nothing can be read."""
    if sys.__stdin__ is None:
        raise UsageError("standard input is closed: give text files, or pipe a text in")


def check_stdout_is_open() -> None:
    """Raise `UsageError` if the caller closed standard output, and so the results would be lost."""
    if sys.__stdout__ is None:
        raise UsageError("standard output is closed, and that is where the results go")
