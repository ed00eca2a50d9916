"""Redact a file or a folder: checks before the work, then the key, then all files at once."""

import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from ner_edge.data.texts import STDIN
from ner_edge.documents.extract import check_readers
from ner_edge.errors import UsageError
from ner_edge.files.atomic import atomic_path, make_folder
from ner_edge.files.inputs import read_input
from ner_edge.files.targets import behind_link, check_file, is_stream
from ner_edge.folders.found import Find
from ner_edge.folders.left_out import LeftOut
from ner_edge.folders.redact import Choice, Redaction, redact_files
from ner_edge.folders.sources import (
    HIDDEN,
    Source,
    check_apart,
    redacted_name,
    sources,
    text_name,
    without_clashes,
)
from ner_edge.folders.text import read_text
from ner_edge.folders.working_folder import working_folder
from ner_edge.redaction.key import KEY_LIMIT, Key, encoded_key, read_key, write_key
from ner_edge.terminal.progress import Update


class RedactionJob:
    """The redaction of a file or a folder, and where its results go.

    Raises `UsageError` or `DataError` if the files cannot be read or the results not be written
    where they are wanted: a folder needs `out`; of a file, None and `-` are standard output. `key`
    and `review` must lie in neither folder.
    """

    def __init__(
        self, source: Path, out: Path | None, key: Path | None, review: Path | None
    ) -> None:
        self._source = source
        self._out = None if out == STDIN else out
        self._key = key
        self.is_folder = source.is_dir()
        self.left_out = LeftOut(out if self.is_folder else None)
        self._check_out(source)
        for option, path in (("--key", key), ("--review", review)):
            if path is not None:
                self._check_secret(f"{option} {path}", path, source)
        if source == STDIN:
            self.files = [Source(source, Path("stdin"))]
        else:
            found = sources(source, self.left_out.add)
            self.files = without_clashes(found, redacted_name, self.left_out.add)
        check_readers(file.path for file in self.files)
        if self.is_folder:
            self._check_out_is_ours()
        if key is not None:
            self._check_key(key)

    @property
    def size(self) -> int:
        """The bytes to read."""
        return sum(file.size for file in self.files)

    def run(self, choice: Choice, find: Find, progress: Update) -> Redaction:
        """Redact all files, write the key, and put the files in their places.

        Raises `UsageError` if the key file has another key.
        """
        read = partial(read_text, binary=not self.is_folder)
        # Standard input can be read only once.
        read_again = cache(read) if self._source == STDIN else read
        work = partial(redact_files, self.files, choice, find, read_again)
        if self.is_folder:
            return self._into_folder(work, progress)
        results: list[bytes] = []
        redaction = work(lambda _, data: results.append(data), self.left_out, progress)
        self._write_key(redaction.key)
        for data in results:
            write_bytes(data, self._out)
        return redaction

    def _into_folder(self, work: Callable[..., Redaction], progress: Update) -> Redaction:
        assert self._out is not None
        out = self._out
        staged: list[tuple[Path, Path]] = []
        with working_folder(out) as scratch:

            def write(source: Source, data: bytes) -> None:
                part = scratch / str(len(staged))
                with atomic_path(part, scratch=scratch) as file:
                    file.write_bytes(data)
                staged.append((part, out / redacted_name(source)))

            redaction = work(write, self.left_out, progress)
            self._write_key(redaction.key)
            for part, target in staged:
                make_folder(target.parent)
                os.replace(part, target)
        return redaction

    def _write_key(self, key: Key) -> None:
        if self._key is None or not key.documents:
            return
        if not self._key.exists():
            write_key(key, self._key)
        elif read_input(self._key, KEY_LIMIT) != encoded_key(key):  # not written by a killed run
            raise _other_key(self._key)

    def _check_out(self, source: Path) -> None:
        option = f"--out {self._out}"
        if self.is_folder and self._out is None:
            raise UsageError(f"{source}: is a folder; --out names the folder for redacted files")
        if self.is_folder and self._out is not None:
            check_apart(option, self._out, source)
        elif self._out is not None:
            check_file(option, self._out, [source])

    def _check_secret(self, option: str, path: Path, source: Path) -> None:
        """A file with names must not lie among the files that are read or passed on."""
        check_file(option, path, [source])
        check_apart(option, path, source)
        out = self._out if self.is_folder else None
        if out is not None and Path(os.path.realpath(out)) in Path(os.path.realpath(path)).parents:
            raise UsageError(f"{option}: lies in {out}, which may be passed on; give another place")

    def _check_out_is_ours(self) -> None:
        """Files of an earlier redaction would have other numbers."""
        assert self._out is not None
        expected = {self._out / redacted_name(source) for source in self.files}
        for folder, folders, names in os.walk(self._out):
            # Those of killed runs are removed when the work begins.
            folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
            for name in names:
                path = Path(folder, name)
                if not name.startswith(".") and path not in expected:
                    raise UsageError(
                        f"--out {self._out}: contains {path.relative_to(self._out)}, which is not "
                        "of this redaction; give an empty folder"
                    )

    def _check_key(self, key: Path) -> None:
        if key.exists():
            names = {text_name(redacted_name(source)) for source in self.files}
            if {document.name for document in read_key(key).documents} - names:
                raise _other_key(key)


def write_bytes(data: bytes, out: Path | None) -> None:
    """Write a file, which appears complete or not at all; None is standard output."""
    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    elif is_stream(out):
        out.write_bytes(data)
    else:
        with atomic_path(behind_link(out)) as part:
            part.write_bytes(data)


def _other_key(path: Path) -> UsageError:
    return UsageError(
        f"--key {path}: is the key of another redaction, whose texts it restores; give another name"
    )
