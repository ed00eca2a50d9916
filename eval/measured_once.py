"""Keep measured figures on disk, so that each is measured only once."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ner_edge.errors import NerEdgeError
from ner_edge.eval.prediction_cache import warn_not_kept
from ner_edge.files.atomic import atomic_path

Measured = TypeVar("Measured")


def measured_once(
    folder: Path | None, kind: type[Measured], key: Any, measure: Callable[[], Measured | None]
) -> Measured | None:
    """Return the figures kept in `folder` under `key`; otherwise call `measure` and keep its
    result, unless it is None.

    `kind` is a dataclass of numbers. `key` is JSON and must hold everything the figures depend on.
    """
    if folder is None:
        return measure()
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    path = folder / f"{name}.{kind.__name__.lower()}.json"
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    found = measure()
    if found is not None:
        _keep(folder, path, json.dumps(asdict(found)))  # type: ignore[call-overload]
    return found


def _keep(folder: Path, path: Path, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except (OSError, NerEdgeError) as error:
        warn_not_kept(folder, error)
