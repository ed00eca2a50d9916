"""Tag the files of a folder into another folder; a killed run goes on where it was."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ner_edge.data.documents import Document
from ner_edge.data.formats.format import Format, Losses
from ner_edge.data.save import save_documents
from ner_edge.data.texts import read_texts
from ner_edge.documents.extract import check_readers, is_document
from ner_edge.errors import DataError, UsageError
from ner_edge.files.atomic import atomic_path, make_folder
from ner_edge.files.hashing import sha256_of
from ner_edge.files.inputs import open_input
from ner_edge.files.journal import Journal
from ner_edge.files.targets import check_folder
from ner_edge.folders.left_out import LeftOut
from ner_edge.folders.sources import (
    HIDDEN,
    Source,
    check_apart,
    sources,
    text_name,
    without_clashes,
)
from ner_edge.folders.text import is_binary, read_text
from ner_edge.folders.working_folder import working_folder
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.tagger import Extent, tag_documents
from ner_edge.terminal.progress import Update
from ner_edge.terminal.streams import say

JOURNAL = f"{HIDDEN}-done.jsonl"


class Done(msgspec.Struct, frozen=True):
    """A result that is complete."""

    name: str
    """Its path in the output folder."""
    content: str
    """The SHA-256 of the file that was tagged."""
    run: str
    """Stands for the model and all options."""


class TagJob:
    """The files to tag, and the folder for their results.

    A result has the name of its file and the suffix `.format`; the text of a document is written
    beside it, as `.txt`. Raises `UsageError` or `DataError` if the files cannot be read or the
    results not be written.
    """

    def __init__(self, inputs: Sequence[Path], out: Path, format: Format) -> None:
        self.left_out = LeftOut(out)
        self._out, self._format = out, format
        if not inputs:
            raise UsageError(f"--out {out}: name the files or folders to tag")
        if format.is_folder:
            raise UsageError(f"--format {format.name}: has a folder for each result; tag one file")
        check_folder(f"--out {out}", out)
        for path in inputs:
            check_apart(f"--out {out}", out, path)
        found = [source for path in inputs for source in sources(path, self.left_out.add)]
        self._files = without_clashes(found, lambda source: source.name, self.left_out.add)
        check_readers(source.path for source in self._files)

    @property
    def size(self) -> int:
        """The bytes to read."""
        return sum(source.size for source in self._files)

    def run(self, tagger: GGUFTagger, run: str, progress: Update) -> tuple[int, int]:
        """Tag all files; return how many were tagged, and how many were done before.

        A file is done if its contents and `run` are those of the last record of its result in the
        journal, and its results are there. `progress` gets the bytes done.
        """
        tagged = skipped = bytes_done = 0
        with working_folder(self._out) as scratch, Journal(self._out / JOURNAL, Done) as journal:
            done = {record.name: record for record in journal.records()}
            for source in self._files:
                with self.left_out.on_error(source.path):
                    targets = self._targets(source)
                    name = text_name(targets[0].relative_to(self._out))
                    record = Done(name, _content_hash(source.path), run)
                    if done.get(name) == record and all(t.is_file() for t in targets):
                        skipped += 1
                    else:
                        _tag(tagger, source.path, targets, self._format, scratch)
                        journal.append(record)
                        tagged += 1
                bytes_done += source.size
                progress(bytes_done, note=f"{tagged + skipped} of {len(self._files)} files")
        return tagged, skipped

    def _targets(self, source: Source) -> list[Path]:
        """The result, and of a document also its text."""
        name = source.name.name
        names = [
            f"{name}.{self._format.name}",
            *([f"{name}.txt"] if is_document(source.path) else []),
        ]
        return [self._out / source.name.with_name(name) for name in names]


def _tag(
    tagger: GGUFTagger, path: Path, targets: Sequence[Path], format: Format, scratch: Path
) -> None:
    texts: Iterable[str]
    make_folder(targets[0].parent)
    if is_document(path):
        text = read_text(path).text
        with atomic_path(targets[1], scratch=scratch) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
        texts = [text]
    else:
        texts = read_texts([path], lambda text: say(f"warning: {text}"), lambda size: None)
    documents = (Document(number, text, []) for number, text in enumerate(texts, 1))
    tagged = tag_documents(tagger, documents, Extent.FILE)
    save_documents(tagged, format, targets[0], Losses(), scratch=scratch)


def _content_hash(path: Path) -> str:
    with open_input(path) as file:
        try:
            if not is_document(path) and is_binary(file.read(8000)):
                raise DataError(f"{path}: is a binary file")
            return sha256_of(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
