"""Errors that a user can cause and mend: one clear line each, never a traceback."""


class NerEdgeError(Exception):
    """Something failed in a way the message, one line, explains; the CLI exits with code 1.

    `details` are further lines for who wants to know, such as what there is to choose from.
    """

    exit_code = 1

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class UsageError(NerEdgeError):
    """The command or its settings are wrong; the CLI exits with code 2."""

    exit_code = 2


def missing_extra(extra: str, error: ImportError) -> UsageError:
    """What to say where a library of an optional part of this package is not installed."""
    return UsageError(f"{error.name} is missing; install it with: pip install 'ner-edge[{extra}]'")


class DataError(NerEdgeError):
    """An input file does not hold what its format promises."""


class ModelError(NerEdgeError):
    """A model, adapter or task is missing, damaged, or does not fit the others."""


class NerEdgeWarning(UserWarning):
    """Something a user should know about a result that is right all the same."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message, which may go on for pages."""
    return str(error).strip().partition("\n")[0]
