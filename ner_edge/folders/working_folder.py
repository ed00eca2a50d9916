"""Work in an output folder: one process at a time, with a place for unfinished files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ner_edge.files.atomic import exclusive, make_folder, remove_abandoned, scratch_folder
from ner_edge.folders.sources import HIDDEN


@contextmanager
def working_folder(out: Path) -> Iterator[Path]:
    """Yield a hidden folder in `out` for unfinished files, which is removed at the end.

    Raises `NerEdgeError` if another process is at work in `out`, or if it cannot be written.
    """
    make_folder(out)
    with exclusive(out / HIDDEN, f"{out}: another ner-edge is writing into it"):
        remove_abandoned(out, HIDDEN)
        with scratch_folder(out, HIDDEN) as scratch:
            yield scratch
