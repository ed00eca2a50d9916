"""Restore a redacted file or folder."""

import hashlib
from pathlib import Path

from ner_edge.data.texts import STDIN
from ner_edge.errors import DataError, UsageError
from ner_edge.files.atomic import atomic_path, make_folder
from ner_edge.files.targets import check_file
from ner_edge.folders.left_out import LeftOut
from ner_edge.folders.redaction_job import write_bytes
from ner_edge.folders.sources import Source, check_apart, sources, text_name
from ner_edge.folders.text import Text, read_plain
from ner_edge.folders.working_folder import working_folder
from ner_edge.redaction.key import others_can_read, read_key
from ner_edge.redaction.restore import Restorer
from ner_edge.terminal.counts import counted
from ner_edge.terminal.progress import Update
from ner_edge.terminal.streams import say


class RestoreJob:
    """The restoring of a file or a folder, and where its results go.

    Raises `UsageError` or `DataError` if the files or the key cannot be read, or the results not be
    written where they are wanted: a folder needs `out`; of a file, None and `-` are standard
    output.
    """

    def __init__(self, source: Path, out: Path | None, key: Path) -> None:
        self._out = None if out == STDIN else out
        self._is_folder = source.is_dir()
        self.left_out = LeftOut(out if self._is_folder else None)
        if self._is_folder:
            if self._out is None:
                raise UsageError(f"{source}: is a folder; --out names the folder for the originals")
            check_apart(f"--out {out}", self._out, source)
        elif self._out is not None:
            check_file(f"--out {out}", self._out, [source, key])
        found = read_key(key)
        self._names = {document.name for document in found.documents}
        self._restorer = Restorer(found)
        if others_can_read(key):
            say(f"warning: {key}: other users can read this key; run: chmod 600 {key}")
        if source == STDIN:
            self.files = [Source(source, Path("stdin"))]
        else:
            self.files = sources(source, self.left_out.add)

    def run(self, progress: Update, *, trust: bool = False) -> tuple[int, int]:
        """Restore all files; return how many exactly, and how many that were edited."""
        if not self._is_folder:
            (source,) = self.files
            data, edited = self._restored(source, trust)
            write_bytes(data, self._out)
            return int(not edited), int(edited)
        assert self._out is not None
        counts = [0, 0]
        with working_folder(self._out) as scratch:
            for number, source in enumerate(self.files, 1):
                with self.left_out.on_error(source.path):
                    data, edited = self._restored(source, trust)
                    target = self._out / source.name
                    make_folder(target.parent)
                    with atomic_path(target, scratch=scratch) as partial:
                        partial.write_bytes(data)
                    counts[edited] += 1
                progress(number)
        missing = sorted(self._names - {text_name(source.name) for source in self.files})
        if missing:
            files = counted(len(missing), "file")
            say(f"warning: {files} of the key missing here, such as {missing[0]}")
        return counts[0], counts[1]

    def _restored(self, source: Source, trust: bool) -> tuple[bytes, bool]:
        """Return a file with its names put back, and whether it was edited; report doubts."""
        text = read_plain(source.path)
        name = text_name(source.name)
        try:
            unchanged = self._restorer.unchanged(text.text, text.sha256, name)
            if unchanged is not None:
                return _checked(text, *unchanged), False
            found, doubts = self._restorer.edited(text.text, name, trust=trust)
        except DataError as error:
            raise DataError(f"{source.path}: {error}") from None
        say(f"warning: {source.path}: was edited after it was redacted")
        for doubt in doubts:
            say(f"warning: {source.path}: {doubt}")
        return text.encoded(found), True


def _checked(text: Text, original: str, sha256: str) -> bytes:
    data = text.encoded(original)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError("does not become its original: the key was changed")
    return data
