"""The models that have names: where they lie on this machine; they are pulled and removed here."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec

from ner_edge.builtin import BUILT_IN, built_in_model, built_in_path
from ner_edge.errors import UsageError
from ner_edge.files.cache import cache_dir
from ner_edge.files.typed import parse_json
from ner_edge.models.resolve import BASES, base_of, base_path, fetch_path, is_adapter, named_base


class StoredModel(NamedTuple):
    """A model or base that has a name."""

    name: str
    bytes: int
    """Its size, or before it is downloaded about that."""
    f1: float | None
    """In percent, on CoNLL-2003 testa; None if it was not measured."""
    path: Path | None
    """None if it is not on this machine."""
    outdated: bool = False
    """Whether an earlier version of ner-edge made it."""


def stored_models() -> list[StoredModel]:
    """Return the built-in models, those built from other versions, and the bases."""
    return [*_models(), *_bases()]


def pull(name: str) -> list[Path]:
    """Download everything that `name` needs: a built-in model, a base, or a hub id.

    Returns the files and folders. Raises `ModelError` if a download fails, `UsageError` if there is
    no such model.
    """
    model, _, quant = name.partition(":")
    if model in BUILT_IN:
        built = built_in_model(model, quant)
        return [named_base(BUILT_IN[model].base), built]  # training and export need the base
    if name in BASES:
        return [named_base(name)]
    folder = fetch_path(name)
    return [folder, base_of(folder)] if is_adapter(folder) else [folder]


def remove(name: str) -> list[Path]:
    """Remove a base, or all files of a built-in model, or of one of its types: `model:type`.

    Returns what was removed. Raises `UsageError` if there is no such model.
    """
    stored = stored_models()
    known = sorted({model.name for model in stored} | set(BUILT_IN))
    if name not in known:
        raise UsageError(f"{name}: no model of this name; there are {', '.join(known)}")
    paths = [
        model.path
        for model in stored
        if model.path is not None and (model.name == name or model.name.startswith(f"{name}:"))
    ]
    for path in paths:
        if not path.is_relative_to(cache_dir()):
            raise UsageError(f"{name}: lies in {path}, which NER_EDGE_BASE names; not removed")
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    return paths


def _models() -> Iterator[StoredModel]:
    for model, built_in in BUILT_IN.items():
        current = built_in_path(model)
        found = {current, *current.parent.glob(f"{model}-*.gguf")}
        pattern = re.compile(rf"{re.escape(model)}-([0-9a-f]{{8}})-(.+)\.gguf")
        stored = []
        for path in found:
            if parts := pattern.fullmatch(path.name):
                quant = parts[2]
                outdated = path != built_in_path(model, quant)
                exists = path.is_file()
                entry = StoredModel(
                    f"{model}:{quant}",
                    path.stat().st_size if exists else built_in.megabytes * 1_000_000,
                    None if outdated else _f1(built_in.folder, quant),
                    path if exists else None,
                    outdated,
                )
                stored.append(entry)
        yield from sorted(stored, key=lambda entry: (entry.outdated, entry.path != current, entry))


def _bases() -> Iterator[StoredModel]:
    for name, base in BASES.items():
        path = base_path(name)
        exists = path.is_file()
        size = path.stat().st_size if exists else base.megabytes * 1_000_000
        yield StoredModel(name, size, None, path if exists else None)


class _Micro(msgspec.Struct):
    f1: float


class _Scores(msgspec.Struct):
    quant: str
    strict_micro: _Micro


def _f1(folder: str, quant: str) -> float | None:
    file = files("ner_edge").joinpath(folder, "scores.json")
    scores = parse_json(file.read_bytes(), _Scores, "scores", str(file))
    return scores.strict_micro.f1 if scores.quant == quant else None
