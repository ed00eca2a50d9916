"""Extract the text of Word, PDF, HTML and mail files, in a child process with limits.

These files come from strangers, and their readers are large: a file that takes too much time or
memory, or crashes its reader, must not end the run. To add a format, add a row to `READERS`.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ner_edge.errors import DataError, missing_extra
from ner_edge.files.inputs import open_input


class Reader(NamedTuple):
    """How the text of a format is read."""

    module: str
    """Its `read_text(path)` returns the text, with an empty line between paragraphs."""
    library: str
    """Of the extra `documents`."""


READERS = {
    ".docx": Reader("ner_edge.documents.docx", "docx"),
    ".eml": Reader("ner_edge.documents.mail", "bs4"),  # for mails that are only HTML
    ".htm": Reader("ner_edge.documents.html", "bs4"),
    ".html": Reader("ner_edge.documents.html", "bs4"),
    ".pdf": Reader("ner_edge.documents.pdf", "pypdf"),
}
"""By suffix."""
MAX_FILE = 200_000_000  # bytes
MAX_TEXT = 20_000_000  # characters
_SECONDS = 120
_MEMORY = 2_000_000_000  # bytes
_NOT_READABLE = 4  # exit code of the child


def is_document(path: Path) -> bool:
    """Whether the text of this file must be extracted, by its suffix."""
    return path.suffix.lower() in READERS


def extract(path: Path) -> str:
    """Return the text of a document.

    Raises `DataError` if it cannot be read within the limits.
    """
    with open_input(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE:
            raise DataError(f"{path}: is larger than {MAX_FILE / 1e6:g} MB")
    # -P: never import from the working directory.
    command = [sys.executable, "-P", "-m", "ner_edge.documents.extract", os.fspath(path)]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{path}: its text was not extracted within {_SECONDS} seconds") from None
    if child.returncode == _NOT_READABLE:
        raise DataError(f"{path}: {child.stderr.decode('utf-8', 'replace').splitlines()[-1]}")
    if child.returncode != 0:
        raise DataError(f"{path}: its text cannot be extracted: its reader fails on it")
    return child.stdout.decode("utf-8")


def check_readers(paths: Iterable[Path]) -> None:
    """Raise `UsageError` if there are documents, but not the libraries that read them."""
    for path in paths:
        reader = READERS.get(path.suffix.lower())
        if reader and importlib.util.find_spec(reader.library) is None:
            raise missing_extra("documents", ImportError(name=reader.library))


def text_of(paragraphs: "list[str]") -> str:
    """Return paragraphs with an empty line between them, and no white space around each."""
    parts = [stripped for paragraph in paragraphs if (stripped := paragraph.strip())]
    return "".join(f"{part}\n" for part in "\n\n".join(parts).split("\n")) if parts else ""


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _main(name: str) -> None:
    path = Path(name)
    _limit_memory()
    try:
        text = importlib.import_module(READERS[path.suffix.lower()].module).read_text(path)
        if len(text) > MAX_TEXT:
            raise DataError(f"contains more than {MAX_TEXT / 1e6:g} million characters")
    except DataError as error:
        print(error, file=sys.stderr)
        sys.exit(_NOT_READABLE)
    # Lone surrogates, which some files contain, are not text.
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))


if __name__ == "__main__":
    _main(sys.argv[1])
