"""The texts that `ner-edge tag` reads: lines of text files, or those of files in other formats."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ner_edge.data.documents import Document
from ner_edge.data.formats.contents import ReadOptions
from ner_edge.data.formats.table import suffix_format
from ner_edge.data.labelled import scan_documents
from ner_edge.data.texts import STDIN, check_readable, read_texts
from ner_edge.errors import UsageError
from ner_edge.tagger import Extent
from ner_edge.terminal.streams import say

TEXT = "text"


class TagInput:
    """The texts of all files, in `format`; None means `suffix_format` or else lines of text.

    `size` counts the bytes of text files and the characters of other texts; None if it is unknown.
    `fields` are the names of what else the files say of their texts. Raises `DataError` for a file
    that cannot be read, `UsageError` for standard input that is no text.
    """

    def __init__(self, paths: Sequence[Path], format: str | None) -> None:
        formats = [format or suffix_format(path) or TEXT for path in paths]
        if STDIN in paths and format not in (None, TEXT):
            raise UsageError(f"--from {format} reads files, not standard input")
        size = check_readable([p for p, f in zip(paths, formats, strict=True) if f == TEXT])
        # Those that are no lines of text are read as a whole, so that errors come early.
        self._sources: list[tuple[Path, list[Document] | None]] = [
            (path, None if format == TEXT else _scan(path, format))
            for path, format in zip(paths, formats, strict=True)
        ]
        scanned = [document for _, documents in self._sources for document in documents or ()]
        self.size = None if size is None else size + sum(len(d.text) for d in scanned)
        self.fields = {name for document in scanned for name in document.fields}

    def files(self, advance: Callable[[int], None]) -> Iterator[tuple[Iterator[Document], Extent]]:
        """Yield the texts of each file, and how many of them are one document: all lines of a file,
        but not of standard input or of a pipe, since those come one by one. `advance` receives the
        size of each text."""
        for path, documents in self._sources:
            if documents is None:
                is_file = path != STDIN and path.is_file()
                yield _lines(path, advance), Extent.FILE if is_file else Extent.TEXT
            else:
                opened = any(document.is_docstart for document in documents)
                yield _counted(documents, advance), Extent.DOCSTART if opened else Extent.TEXT


def _lines(path: Path, advance: Callable[[int], None]) -> Iterator[Document]:
    texts = read_texts([path], lambda text: say(f"warning: {text}"), advance)
    for number, text in enumerate(texts, 1):
        yield Document(number, text, [])


def _counted(documents: Sequence[Document], advance: Callable[[int], None]) -> Iterator[Document]:
    for document in documents:
        advance(len(document.text))
        yield document


def _scan(path: Path, format: str) -> list[Document]:
    return scan_documents(path, ReadOptions(texts_only=True), format).documents
