"""Tables of pyarrow with the columns `entities` and `error`."""

from collections.abc import Sequence
from typing import Any

import pyarrow

from ner_edge.bulk.batches import ENTITIES, ERROR
from ner_edge.data.formats.parquet import entities_type


def with_columns(
    table: Any, entities: Sequence[list[dict[str, Any]]], errors: Sequence[str | None]
) -> Any:
    """Return a table or record batch with both columns; null in `errors` means none."""
    table = table.append_column(
        pyarrow.field(ENTITIES, entities_type()), pyarrow.array(entities, entities_type())
    )
    return table.append_column(
        pyarrow.field(ERROR, pyarrow.string()), pyarrow.array(errors, pyarrow.string())
    )
