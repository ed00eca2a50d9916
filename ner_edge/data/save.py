"""Write texts with entities to a file, a folder or standard output."""

import os
from collections.abc import Iterable
from pathlib import Path

from ner_edge.data.documents import Document
from ner_edge.data.formats.format import Format, Losses
from ner_edge.errors import UsageError
from ner_edge.files.atomic import atomic_path, open_stream, remove_abandoned, scratch_folder
from ner_edge.files.targets import behind_link, check_file, check_folder, is_stream


def check_target(option: str, target: Path | None, format: Format, inputs: Iterable[Path]) -> None:
    """Raise `UsageError` naming `option` if `target` cannot be written in this format.

    None stands for standard output.
    """
    if format.write is None and (target is None or is_stream(target)):
        needed = "folder" if format.is_folder else "file"
        raise UsageError(f"{option}: {format.name} is no stream of text: name a {needed}")
    if target is None:
        return
    if not format.is_folder:
        check_file(option, target, inputs)
        return
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{option}: {target} exists; {format.name} needs a new or empty folder")
    check_folder(option, target.parent)


def save_documents(
    documents: Iterable[Document],
    format: Format,
    target: Path,
    losses: Losses,
    *,
    scratch: Path | None = None,
) -> None:
    """Write texts to `target`: a file or folder, which appears complete or not at all, or a
    stream. A file is made in the folder `scratch`, by default beside `target`."""
    if format.is_folder:
        _save_folder(documents, format, target, losses)
    elif format.write is not None and is_stream(target):
        with open_stream(target) as stream:
            stream.writelines(piece.encode() for piece in format.write(documents, losses))
    else:
        with atomic_path(behind_link(target), scratch=scratch) as partial:
            if format.save is not None:
                format.save(documents, partial, losses)
            elif format.write is not None:
                with partial.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(format.write(documents, losses))


def _save_folder(
    documents: Iterable[Document], format: Format, target: Path, losses: Losses
) -> None:
    assert format.save is not None
    remove_abandoned(target.parent, target.name)
    with scratch_folder(target.parent, target.name) as scratch:
        folder = scratch / target.name
        folder.mkdir()
        format.save(documents, folder, losses)
        os.replace(folder, target)


def print_documents(
    documents: Iterable[Document], format: Format, losses: Losses, *, flush: bool = False
) -> None:
    """Write texts to standard output; `flush` after each piece."""
    assert format.write is not None
    for piece in format.write(documents, losses):
        print(piece, end="", flush=flush)
