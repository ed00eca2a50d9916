"""The word head in the metadata of a GGUF file.

It is no tensor, since llama.cpp refuses tensors that it does not know.
"""

import numpy as np
from gguf import GGUFValue, GGUFValueType
from numpy.typing import NDArray

from ner_edge.gguf.file import GGUFFile
from ner_edge.tags import tag_set
from ner_edge.task import Task
from ner_edge.word_head import Linear, WordHead

_DEPTHS = "ner_edge.word_head.depths"
_PASSAGE = "ner_edge.word_head.passage"
_MAX_DEPTHS = 1000


def word_head_metadata(head: WordHead) -> dict[str, GGUFValue]:
    """Return the metadata that hold the head."""

    def array(items: list[float], kind: GGUFValueType) -> GGUFValue:
        return GGUFValue(items, GGUFValueType.ARRAY, kind)

    values = {_DEPTHS: array(sorted(head.layers), GGUFValueType.INT32)}
    if head.passage:
        values[_PASSAGE] = GGUFValue(head.passage, GGUFValueType.UINT32)
    for depth, layer in head.layers.items():
        for name, weights in layer._asdict().items():
            floats = weights.astype(np.float32).ravel().tolist()
            values[_key(depth, name)] = array(floats, GGUFValueType.FLOAT32)
    return values


def read_word_head(file: GGUFFile, task: Task) -> WordHead | None:
    """Read the head of a file; None if it has none.

    Raises `ModelError` if its sizes are not those of the model and the task.
    """
    depths = file.items(_DEPTHS)
    if depths is None:
        return None
    architecture = file.text("general.architecture")
    width = file.integer(f"{architecture}.embedding_length") or 0
    blocks = file.integer(f"{architecture}.block_count") or 0
    whole = all(isinstance(depth, int) and 0 < depth <= blocks for depth in depths)
    if not depths or not whole or max(depths) != blocks or len(depths) > _MAX_DEPTHS:
        raise file.damaged(f"{_DEPTHS} is {depths[:5]}, but the model has {blocks} layers")
    tags = len(tag_set(list(task.labels)))
    layers = {
        depth: Linear(
            _floats(file, _key(depth, "weight"), tags * width).reshape(tags, width),
            _floats(file, _key(depth, "bias"), tags),
        )
        for depth in depths
    }
    epsilon = file.get(f"{architecture}.attention.layer_norm_rms_epsilon")
    passage = file.integer(_PASSAGE) or 0
    if passage < 0:
        raise file.damaged(f"{_PASSAGE} is {passage}")
    return WordHead(tuple(task.labels), layers, float(epsilon or 0), passage)


def _floats(file: GGUFFile, key: str, count: int) -> NDArray[np.float32]:
    if (
        file.array_type(key) != GGUFValueType.FLOAT32
        or len(items := file.items(key) or []) != count
    ):
        raise file.damaged(f"{key} is not an array of {count} numbers")
    values = np.array(items, np.float32)
    if not np.isfinite(values).all():
        raise file.damaged(f"{key} contains NaN or infinite values")
    return values


def _key(depth: int, name: str) -> str:
    return f"ner_edge.word_head.{depth}.{name}"
