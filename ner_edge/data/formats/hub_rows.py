"""Rows of Hugging Face's data sets: turn class ids into names.

Format: https://huggingface.co/docs/dataset-viewer/rows.
"""

from typing import Any


def hub_rows(value: Any) -> list[Any] | None:
    """Return the rows of an answer of the server; None if `value` is not one."""
    if not isinstance(value, dict):
        return None
    features, rows = value.get("features"), value.get("rows")
    if not isinstance(features, list) or not isinstance(rows, list):
        return None
    names = {}
    for feature in features:
        if isinstance(feature, dict) and (found := class_names(feature.get("type"))):
            names[str(feature.get("name"))] = found
    return [with_names(row.get("row") if isinstance(row, dict) else row, names) for row in rows]


def class_names(kind: Any) -> list[Any] | None:
    """Return the class names of a column of lists."""
    inner = kind.get("feature") if isinstance(kind, dict) else None
    names = inner.get("names") if isinstance(inner, dict) else None
    return names if isinstance(names, list) else None


def with_names(row: Any, names: dict[str, list[Any]]) -> Any:
    """Return a row whose lists of class ids are lists of names, by the names of its columns."""
    if not isinstance(row, dict):
        return row
    return {
        key: [_name(item, names[key]) for item in value]
        if key in names and isinstance(value, list)
        else value
        for key, value in row.items()
    }


def _name(item: Any, names: list[Any]) -> Any:
    return names[item] if type(item) is int and 0 <= item < len(names) else item
