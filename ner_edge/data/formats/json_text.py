"""Write JSON: a value per line, or a list piece by piece."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def json_line(value: Any) -> str:
    """Return a value in one line, with a newline; dates and the like become strings."""
    return json.dumps(value, ensure_ascii=False, default=str) + "\n"


def json_list(values: Iterable[Any]) -> Iterator[str]:
    """Yield a list, with one value per line."""
    before = "[\n"
    for value in values:
        yield before + json_line(value).removesuffix("\n")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"
