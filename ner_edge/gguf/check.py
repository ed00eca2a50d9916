"""Check that llama.cpp can run a GGUF: its loader and kernels take much for granted, and end the
process if a file contradicts itself."""

import math
from collections import Counter

from gguf import GGMLQuantizationType, GGUFValueType

from ner_edge.architectures import (
    BY_NAME,
    BYTE_LEVEL,
    SENTENCEPIECE,
    Architecture,
    find_architecture,
)
from ner_edge.gguf.file import GGUFFile
from ner_edge.shapes import Hyperparameters

_TOKENIZERS = (BYTE_LEVEL, SENTENCEPIECE)
# The types that ggml's CPU kernels can multiply.
_MATRIX_TYPES = frozenset(
    kind
    for kind in GGMLQuantizationType
    if kind.name not in {"F64", "I8", "I16", "I32", "I64", "Q8_1", "Q8_K"}
)


def check_model(file: GGUFFile) -> Hyperparameters:
    """Check hyperparameters, tensors and vocabulary, and return the hyperparameters.

    Raises `ModelError` if the file is not a supported model, or contradicts itself.
    """
    architecture = find_architecture(file.text("general.architecture"), BY_NAME, file.path)
    kind = file.text("general.type") or "model"
    if kind != "model":
        raise file.unsupported(f"it is of type '{kind}', not a model")
    if (file.integer("split.count") or 0) > 1:
        raise file.unsupported("it is one part of a split model; merge the parts first")
    shape = _hyperparameters(file, architecture)
    shape.check({name: info.shape for name, info in file.tensors.items()})
    for name, info in file.tensors.items():
        if len(info.shape) == 1 and info.type != GGMLQuantizationType.F32:
            raise file.damaged(f"the vector {name} has type {info.type.name}, not F32")
        if info.type not in _MATRIX_TYPES:
            raise file.damaged(f"the matrix {name} has type {info.type.name}")
    _check_vocabulary(file, shape.vocabulary)
    return shape


def _hyperparameters(file: GGUFFile, architecture: Architecture) -> Hyperparameters:
    name = architecture.name

    def size(key: str, default: int | None = None) -> int:
        value = file.integer(f"{name}.{key}")
        value = default if value is None else value
        if value is None or not 0 <= value < 1 << 31:
            raise file.damaged(f"{name}.{key} is {'missing' if value is None else value}")
        return value

    for key in ("expert_count", "expert_used_count", "nextn_predict_layers"):
        if size(key, 0):
            raise file.unsupported(f"{name}.{key} is {size(key)}; only dense models are supported")
    if not size("context_length"):
        raise file.damaged(f"{name}.context_length is 0")
    width, heads = size("embedding_length"), size("attention.head_count")
    head_width = size("attention.key_length", width // max(1, heads))
    for key in ("attention.value_length", "rope.dimension_count"):
        if size(key, head_width) != head_width:
            raise file.damaged(f"{name}.{key} is {size(key)}, but heads are {head_width} wide")
    if architecture.global_every:
        if not size("attention.sliding_window"):
            raise file.damaged(f"{name}.attention.sliding_window is 0")
        if file.keys(f"{name}.attention.sliding_window_pattern"):
            raise file.unsupported("its layers have another pattern of sliding windows")
    _check_numbers(file, name)
    return Hyperparameters(
        path=file.path,
        architecture=architecture,
        layers=size("block_count"),
        width=width,
        feed_forward_width=size("feed_forward_length"),
        heads=heads,
        key_value_heads=size("attention.head_count_kv", heads),
        head_width=head_width,
        vocabulary=len(file.items("tokenizer.ggml.tokens") or []),
    )


def _check_numbers(file: GGUFFile, architecture: str) -> None:
    """Raise `ModelError` if a number is not finite or a rotary setting is not positive."""
    epsilon = f"{architecture}.attention.layer_norm_rms_epsilon"
    for key in file.keys(f"{architecture}."):
        value = file.get(key)
        if isinstance(value, float) and not math.isfinite(value):
            raise file.damaged(f"{key} is {value}")
        if ".rope." in key and isinstance(value, int | float) and value < 0:
            raise file.damaged(f"{key} is {value}")
    value = file.get(epsilon)
    if not isinstance(value, float) or not 0 < value < 1:
        raise file.damaged(f"{epsilon} is {value}")
    for key in ("freq_base", "freq_base_swa"):
        base = file.get(f"{architecture}.rope.{key}")
        if base is not None and not (isinstance(base, int | float) and base > 0):
            raise file.damaged(f"{architecture}.rope.{key} is {base}")


def _check_vocabulary(file: GGUFFile, size: int) -> None:
    """Raise `ModelError` if the arrays of the vocabulary contradict each other or its kind."""
    kind = file.text("tokenizer.ggml.model")
    if kind not in _TOKENIZERS:
        raise file.unsupported(f"its tokenizer is '{kind}', not {' or '.join(_TOKENIZERS)}")
    _check_tokens(file)
    _check_token_array(file, "tokenizer.ggml.token_type", GGUFValueType.INT32, size)
    _check_token_array(file, "tokenizer.ggml.scores", GGUFValueType.FLOAT32, size)
    if kind == BYTE_LEVEL:
        merges = file.items("tokenizer.ggml.merges") or []
        if not merges or not all(isinstance(m, bytes) and b" " in m[1:] for m in merges):
            raise file.damaged("its merges are missing or are not pairs of tokens")
    elif file.items("tokenizer.ggml.scores") is None:
        raise file.damaged("its tokens have no scores")
    for key in file.keys("tokenizer.ggml."):
        number = file.get(key)
        if key.endswith("_token_id") and not (type(number) is int and 0 <= number < size):
            raise file.damaged(f"{key} is {number}, but there are {size} tokens")


def _check_tokens(file: GGUFFile) -> None:
    tokens = file.items("tokenizer.ggml.tokens") or []
    if not all(isinstance(token, bytes) for token in tokens):
        raise file.damaged("its tokens are not strings")
    if len(set(tokens)) != len(tokens):  # an assertion in llama.cpp
        (twice, _), *_ = Counter(tokens).most_common(1)
        raise file.damaged(f"its vocabulary contains {twice!r} twice")


def _check_token_array(file: GGUFFile, key: str, wanted: GGUFValueType, size: int) -> None:
    found = file.array_type(key)
    if found not in (None, wanted):
        raise file.damaged(f"{key} is not an array of {wanted.name.lower()}")
    items = file.items(key) or []
    if items and len(items) != size:
        raise file.damaged(f"{key} has {len(items)} items for {size} tokens")
