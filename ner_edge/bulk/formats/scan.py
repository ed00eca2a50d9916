"""What an input file holds, and checks of its columns."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ner_edge.bulk.batches import ENTITIES, ERROR
from ner_edge.bulk.parts import Part
from ner_edge.bulk.storage import Location
from ner_edge.data.formats.offsets import keys_of
from ner_edge.errors import DataError


class Wanted(NamedTuple):
    """How input files are cut."""

    text_column: str
    part_size: int
    """The most texts in a part."""
    typed: bool
    """Whether the types of all columns are needed, because the output has a schema."""


class Scan(NamedTuple):
    """What a file holds."""

    parts: list[Part]
    columns: dict[str, Any]
    """The pyarrow types of its columns by name, as far as they are known."""
    delimiter: str = ","
    """That of a CSV file."""


def check_columns(location: Location, names: Iterable[str], text_column: str) -> None:
    """Raise `DataError` unless there is the text column, none twice, and none of the new ones."""
    names = list(names)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{location.shown}: has two columns named {twice[0]!r}; rename one")
    if text_column not in names:
        raise DataError(
            f"{location.shown}: has no column named {text_column}; its columns are "
            f"{keys_of(dict.fromkeys(names))}; --text-column names the one with the texts"
        )
    for name in (ENTITIES, ERROR):
        if name in names:
            raise DataError(
                f"{location.shown}: has a column named {name}, which bulk adds: rename it"
            )
