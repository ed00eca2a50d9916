"""The file of a word head: linear layers on hidden states that tag each word.

It lies beside an adapter that was trained to read both ways; reading it needs no torch.
"""

import json
import re
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.typed import parse_json
from ner_edge.hf.safetensors import SafetensorsFile
from ner_edge.tags import tag_set
from ner_edge.word_head import Linear, WordHead

HEAD_FILE = "word_head.safetensors"
LABELS_KEY = "labels"
"""The metadata that holds the labels, as a JSON list."""
PASSAGE_KEY = "passage"
"""The metadata that holds the most words of a passage, a number; absent if it is 0."""

_Labels = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(min_length=1, max_length=500)]
_NAME = re.compile(r"layers\.([1-9]\d{0,2})\.(?:weight|bias)")
_MOST_DEPTHS = 64


def read_word_head(folder: Path) -> WordHead | None:
    """Return the word head beside the adapter in `folder`; None without one.

    Raises `ModelError` if the file is damaged or is not a word head.
    """
    path = folder / HEAD_FILE
    if not path.exists():
        return None
    file = SafetensorsFile(path)
    file.check_floats()
    if LABELS_KEY not in file.metadata:
        raise ModelError(f"{path}: not a word head (its metadata have no labels)")
    where = f"{path}: labels"
    labels = parse_json(file.metadata[LABELS_KEY], _Labels, "a list of labels", where)
    if len(set(labels)) != len(labels):
        raise ModelError(f"{path}: not a word head (a label occurs twice)")
    passage = file.metadata.get(PASSAGE_KEY, "0")
    if not re.fullmatch(r"\d{1,6}", passage, re.ASCII):
        raise ModelError(f"{path}: {PASSAGE_KEY} is not a number of words ({passage[:20]!r})")
    layers = _read_layers(file, len(tag_set(labels)))
    return WordHead(tuple(labels), layers, passage=int(passage))


def write_word_head(head: WordHead, folder: Path) -> None:
    """Write the word head beside the adapter in `folder`."""
    from safetensors.numpy import save

    weights: dict[str, NDArray[np.float32]] = {}
    for depth, (weight, bias) in head.layers.items():
        weights |= {_weight(depth): weight, _bias(depth): bias}
    metadata = {LABELS_KEY: json.dumps(list(head.labels))}
    if head.passage:
        metadata[PASSAGE_KEY] = str(head.passage)
    with atomic_path(folder / HEAD_FILE) as path:
        path.write_bytes(save(weights, metadata))


def _weight(depth: int) -> str:
    return f"layers.{depth}.weight"


def _bias(depth: int) -> str:
    return f"layers.{depth}.bias"


def _read_layers(file: SafetensorsFile, tags: int) -> dict[int, Linear]:
    shapes = {name: entry.shape for name, entry in file.entries.items()}
    found = [_NAME.fullmatch(name) for name in shapes]
    depths = sorted({int(match[1]) for match in found if match})
    wanted = {name for depth in depths for name in (_weight(depth), _bias(depth))}
    if not 0 < len(depths) <= _MOST_DEPTHS or shapes.keys() != wanted:
        raise ModelError(
            f"{file.path}: not a word head (expected pairs of tensors such as {_weight(24)} and "
            f"{_bias(24)})"
        )
    width = shapes[_weight(depths[0])][-1]
    layers = {}
    for depth in depths:
        for name, shape in ((_weight(depth), (tags, width)), (_bias(depth), (tags,))):
            if shapes[name] != shape:
                raise ModelError(
                    f"{file.path}: {name} has shape {shapes[name]}, but the labels have {tags} "
                    f"tags, so it should be {shape}"
                )
        layers[depth] = Linear(file.float32(_weight(depth)), file.float32(_bias(depth)))
        if not all(np.isfinite(values).all() for values in layers[depth]):
            raise ModelError(f"{file.path}: layer {depth} has values that are not finite")
    return layers
