"""Errors that a user can cause and fix: one clear line each, never a traceback."""


class NerEdgeError(Exception):
    """A failure that a one-line message explains; the CLI exits with code 1.

    `details` are further lines, such as the values to choose from.
    """

    exit_code = 1

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class UsageError(NerEdgeError):
    """A wrong command or setting; the CLI exits with code 2."""

    exit_code = 2


def missing_extra(extra: str, error: ImportError) -> UsageError:
    """Return the error for a library of an optional extra that is not installed."""
    return UsageError(f"{error.name} is missing; install it with: pip install 'ner-edge[{extra}]'")


class DataError(NerEdgeError):
    """An input file that violates its format."""


class ModelError(NerEdgeError):
    """A model, adapter or task that is missing, damaged, or does not match the others."""


class NerEdgeWarning(UserWarning):
    """A caveat about a result that is still correct."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message, which may be pages long."""
    return str(error).strip().partition("\n")[0]
