"""The manifest of an output folder: which parts it will hold, and of which run."""

from typing import Any

import msgspec

from ner_edge import __version__
from ner_edge.bulk.part_file import Counts
from ner_edge.bulk.parts import Part
from ner_edge.bulk.storage import Location
from ner_edge.errors import DataError, UsageError
from ner_edge.files.typed import parse_json

NAME = "_manifest.json"
"""Readers of folders of Parquet ignore names that begin so."""
_LIMIT = 1_000_000_000  # bytes


class ModelStamp(msgspec.Struct, frozen=True):
    """The model that tags."""

    name: str
    size: int
    """In bytes."""
    sha256: str
    version: str
    """Of the decoder and of llama.cpp: with the same, a model gives the same results."""


class Settings(msgspec.Struct, frozen=True):
    """The options on which the results depend."""

    text_column: str = "text"
    format: str = "parquet"
    part_size: int = 1000
    """The most texts in a part."""
    min_score: float = 0.0
    decoder: str | None = None
    depth: int | None = None


class Input(msgspec.Struct, frozen=True):
    """A file that is read."""

    name: str
    """Without its folder, so that it may lie elsewhere when the run goes on."""
    format: str
    texts: int


class PlannedPart(msgspec.Struct, frozen=True):
    """A part and the name of its file."""

    file: str
    part: Part


class Manifest(msgspec.Struct, frozen=True):
    """What a folder holds once its run is done."""

    model: ModelStamp
    settings: Settings
    inputs: list[Input]
    parts: list[PlannedPart]
    ner_edge: str = __version__
    done: Counts | None = None
    """What all parts hold; null until every part is there."""

    def check_continues(self, begun: "Manifest", out: Location) -> None:
        """Raise `UsageError` that names what differs if `begun` is the manifest of another run."""
        for what, mine, theirs in (
            ("model", self.model.sha256, begun.model.sha256),
            ("version of the decoder", self.model.version, begun.model.version),
            *_options(self.settings, begun.settings),
            ("input", self.inputs, begun.inputs),
            ("input", self.parts, begun.parts),
        ):
            if mine != theirs:
                raise UsageError(
                    f"{out.shown}: holds parts of a run with another {what}; give another folder"
                )


def _options(mine: Settings, theirs: Settings) -> list[tuple[str, Any, Any]]:
    names = mine.__struct_fields__
    return [(f"--{n.replace('_', '-')}", getattr(mine, n), getattr(theirs, n)) for n in names]


def read_manifest(out: Location) -> Manifest | None:
    """Return the manifest of a folder; None if the folder is new or empty.

    Raises `UsageError` if it holds anything else, `DataError` if the manifest is damaged.
    """
    names = out.names()
    if NAME in names:
        location = out.child(NAME)
        with location.open() as file:
            data = file.read(_LIMIT)
        try:
            return parse_json(data, Manifest, "a manifest of bulk", location.shown, error=DataError)
        except DataError as error:
            raise DataError(f"{error}; give another folder") from None
    if visible := sorted(name for name in names if not name.startswith(".")):
        raise UsageError(
            f"{out.shown}: is not empty, and holds no {NAME} (but {visible[0]}); "
            "give a new or an empty folder"
        )
    return None


def write_manifest(manifest: Manifest, out: Location) -> None:
    """Write the manifest of a folder. Raises `NerEdgeError`."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    out.child(NAME).write(data)
