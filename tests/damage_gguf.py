"""Damage to a GGUF that a reader can parse: what is well formed but wrong.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import json
import math
import struct
from random import Random

from damage_bytes import Mutator
from damage_json import JSON_KINDS
from gguf_parts import ARRAY, SCALARS, STRING, Value, gguf_bytes, parse_gguf

_QUANTIZED = (2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 16, 20, 23, 30)  # ggml's numbers of types
_NUMBERS = (0, 1, 2, 3, 7, 33, 255, 65_535, 10**5, 10**9, 2**31 - 1, 2**31, 2**32 - 1, 2**63, -1)
_FLOATS = (0.0, -1.0, 1e-320, 1e-38, 1e30, 3.4e38, math.inf, -math.inf, math.nan)
_TEXTS = (
    *(b"", b"\0", b"\xff\xfe\xfd", b"llama\x1b[2J\x1b]0;x\x07", b"\xed\xa0\x80", b"x" * 100_000),
    *(b"gpt2", b"llama", b"bert", b"qwen2", b"mamba", b"clip", b"{}", b"nan", b"1e-320", b"-1"),
    "\u202ename\x85".encode(),
)


def _number_near(source: Random, old: float) -> float:
    near = (old + 1, old - 1, old * 2, old // 2, old * 1000, -old)
    return source.choice((source.choice(near), source.choice(_NUMBERS)))


def _other_value(source: Random, old: Value) -> Value:
    """Another of the same type."""
    if old.type == STRING:
        return Value(STRING, source.choice(_TEXTS))
    if old.type == 7:
        return Value(7, source.choice((not old.value, 2)))
    if old.type in (6, 12):
        return Value(old.type, source.choice((*_FLOATS, old.value * 2)))
    return Value(old.type, _number_near(source, old.value))


def other_number(source: Random, data: bytes) -> tuple[bytes, str]:
    """A hyperparameter or id is another number: block_count of 0, rope base of NaN."""
    gguf = parse_gguf(data)
    scalars = [(key, value) for key, value in gguf.values if value.type in SCALARS]
    key, old = source.choice(scalars)
    new = _other_value(source, old)
    gguf.put(key, new)
    return gguf_bytes(gguf), f"{key.decode()}: {old.value} -> {new.value}"


def other_text(source: Random, data: bytes) -> tuple[bytes, str]:
    """A text in the metadata is another one: empty, endless, no UTF-8, with escapes."""
    gguf = parse_gguf(data)
    key, _ = source.choice([pair for pair in gguf.values if pair[1].type == STRING])
    new = source.choice(_TEXTS)
    gguf.put(key, Value(STRING, new))
    return gguf_bytes(gguf), f"{key.decode()} -> {new[:40]!r}"


def other_type(source: Random, data: bytes) -> tuple[bytes, str]:
    """A value in the metadata is of another type."""
    gguf = parse_gguf(data)
    key, old = source.choice(gguf.values)
    new = source.choice(
        (
            Value(STRING, source.choice(_TEXTS)),
            Value(source.choice((0, 1, 3, 4, 5, 10, 11)), source.choice(_NUMBERS)),
            Value(source.choice((6, 12)), source.choice(_FLOATS)),
            Value(7, True),
            Value(ARRAY, [1, 2], 5),
            Value(ARRAY, [], 4),
            Value(ARRAY, [b"a", b"\xff"], STRING),
        )
    )
    gguf.put(key, new)
    return gguf_bytes(gguf), f"{key.decode()}: type {old.type} -> {new.type}, {str(new.value)[:40]}"


def remove_value(source: Random, data: bytes) -> tuple[bytes, str]:
    """A key is missing."""
    gguf = parse_gguf(data)
    key, _ = gguf.values.pop(source.randrange(len(gguf.values)))
    return gguf_bytes(gguf), key.decode()


def duplicate_value(source: Random, data: bytes) -> tuple[bytes, str]:
    """A key stands twice, with one value or two."""
    gguf = parse_gguf(data)
    key, value = source.choice(gguf.values)
    other = value if value.type == ARRAY else _other_value(source, value)
    gguf.values.append((key, source.choice((value, other))))
    return gguf_bytes(gguf), key.decode()


def rename_value(source: Random, data: bytes) -> tuple[bytes, str]:
    """A key is another text: empty, no UTF-8, with escapes."""
    gguf = parse_gguf(data)
    index = source.randrange(len(gguf.values))
    old, value = gguf.values[index]
    new = source.choice((*_TEXTS, old.upper(), old + b"x"))
    gguf.values[index] = (new, value)
    return gguf_bytes(gguf), f"{old.decode()} -> {new[:40]!r}"


def add_value(source: Random, data: bytes) -> tuple[bytes, str]:
    """There is a value that the model should not have: experts, an alignment, splits, a LoRA's."""
    gguf = parse_gguf(data)
    architecture = gguf.get(b"general.architecture")
    key, value = source.choice(
        (
            (architecture + b".expert_count", Value(4, source.choice((1, 2, 8, 10**6)))),
            (architecture + b".expert_used_count", Value(4, source.choice((1, 2, 10**6)))),
            (architecture + b".rope.scaling.type", Value(STRING, b"yarn")),
            (architecture + b".rope.scaling.factor", Value(6, source.choice(_FLOATS))),
            (architecture + b".rope.dimension_sections", Value(ARRAY, [1, 2, 3], 5)),
            (architecture + b".attention.sliding_window", Value(4, source.choice((0, 1, 2**31)))),
            (architecture + b".attention.causal", Value(7, False)),
            (architecture + b".logit_scale", Value(6, source.choice(_FLOATS))),
            (architecture + b".pooling_type", Value(4, source.choice((1, 4, 99)))),
            (b"general.alignment", Value(4, source.choice((0, 1, 3, 8, 64, 2**31)))),
            (b"general.alignment", Value(STRING, b"32")),
            (b"general.type", Value(STRING, source.choice((b"adapter", b"mmproj", b"")))),
            (b"split.count", Value(2, source.choice((2, 65535)))),
            (b"adapter.type", Value(STRING, b"lora")),
            (b"tokenizer.ggml.add_bos_token", Value(7, True)),
            (b"tokenizer.ggml.add_space_prefix", Value(7, True)),
            (b"tokenizer.ggml.remove_extra_whitespaces", Value(7, True)),
            (b"tokenizer.ggml.precompiled_charsmap", Value(ARRAY, [255] * 7, 0)),
            (b"tokenizer.chat_template", Value(STRING, b"{% for x in range(10**9) %}")),
            (b"ner_edge.temperature", Value(STRING, source.choice((b"1e-320", b"nan", b"0")))),
            (b"ner_edge.temperature", Value(STRING, source.choice((b"1e308", b"1_0", b" 1 ")))),
            (b"ner_edge.temperature", Value(12, source.choice(_FLOATS))),
        )
    )
    gguf.put(key, value)
    return gguf_bytes(gguf), f"{key.decode()} = {str(value.value)[:40]}"


def layer_count(source: Random, data: bytes) -> tuple[bytes, str]:
    """The file promises no layers, or thousands, or ones too wide."""
    gguf = parse_gguf(data)
    names = (b"block_count", b"embedding_length", b"feed_forward_length", b"context_length")
    heads = (b"attention.head_count", b"attention.head_count_kv", b"attention.key_length")
    name = source.choice((b"block_count", *names, *heads, b"vocab_size", b"rope.dimension_count"))
    number = source.choice((0, 1, 3, 5000, 10**6, 2**31 - 1, 2**32 - 1))
    gguf.put(gguf.get(b"general.architecture") + b"." + name, Value(4, number))
    return gguf_bytes(gguf), f"{name.decode()} = {number}"


def tokenizer_model(source: Random, data: bytes) -> tuple[bytes, str]:
    """The tokenizer is said to be of another kind than its lists."""
    gguf = parse_gguf(data)
    kinds = (b"llama", b"bert", b"t5", b"rwkv", b"plamo2", b"gpt2", b"none", b"no_vocab", b"x")
    pres = (b"default", b"llama-bpe", b"qwen2", b"tekken", b"gpt-4o", b"x", b"")
    key, new = source.choice(((b"model", source.choice(kinds)), (b"pre", source.choice(pres))))
    gguf.put(b"tokenizer.ggml." + key, Value(STRING, new))
    return gguf_bytes(gguf), f"{key.decode()} = {new.decode()}"


def tokenizer_array(source: Random, data: bytes) -> tuple[bytes, str]:
    """Tokens, their types or the merges are fewer, more, repeated, mixed or of another type."""
    gguf = parse_gguf(data)
    arrays = [(key, value) for key, value in gguf.values if value.type == ARRAY]
    if not arrays:  # a LoRA's
        return add_value(source, data)
    key, old = source.choice(arrays)
    items = list(old.value)
    change = source.choice(("cut", "empty", "double", "shuffle", "same", "type", "extreme"))
    new = Value(ARRAY, items, old.items)
    if change == "cut":
        new.value = items[: source.randrange(len(items))]
    elif change == "empty":
        new.value = []
    elif change == "double":
        new.value = items * 2
    elif change == "shuffle":
        source.shuffle(new.value)
    elif change == "same":
        new.value = items[:1] * len(items)
    elif change == "type":
        new = Value(ARRAY, list(range(len(items))), source.choice((0, 4, 5, 11)))
    else:
        texts = old.items == STRING
        for _ in range(source.choice((1, 10))):
            new.value[source.randrange(len(items))] = source.choice(_TEXTS if texts else _NUMBERS)
    gguf.put(key, new)
    return gguf_bytes(gguf), f"{key.decode()}: {change}"


def flip_token(source: Random, data: bytes) -> tuple[bytes, str]:
    """One byte of a token or merge is another."""
    gguf = parse_gguf(data)
    lists = [v for _, v in gguf.values if v.type == ARRAY and v.items == STRING and v.value]
    if not lists:  # a LoRA's
        return add_value(source, data)
    texts = source.choice(lists).value
    index = source.randrange(len(texts))
    old = bytearray(texts[index] or b"x")
    old[source.randrange(len(old))] = source.choice(
        (0, 0x20, 0x5B, 0x7C, 0xFF, source.randrange(256))
    )
    before, texts[index] = texts[index], bytes(old)
    return gguf_bytes(gguf), f"{index}: {before!r} -> {texts[index]!r}"


def own_json(source: Random, data: bytes) -> tuple[bytes, str]:
    """The task in it is damaged JSON."""
    gguf = parse_gguf(data)
    old = gguf.get(b"ner_edge.task") or json.dumps({"name": "t", "labels": {"A": "a"}}).encode()
    kind = source.choice(JSON_KINDS)
    new, what = kind(source, old)
    gguf.put(b"ner_edge.task", Value(STRING, new))
    return gguf_bytes(gguf), f"{kind.__name__}: {what}"


def own_text(source: Random, data: bytes) -> tuple[bytes, str]:
    """A task whose texts are no ordinary ones: escapes, special tokens, endless instructions."""
    gguf = parse_gguf(data)
    odd = (
        "\x1b[2J",
        "\u202e",
        "\x85",
        "\0",
        "[",
        "x" * 3000,
        "<|im_end|>",
        "",
        "é" * 300,
        "\u2028",
    )
    labels = {f"L{source.choice(odd)}": source.choice(odd), "PER": source.choice(odd)}
    if source.random() < 0.2:
        labels |= {f"L{i}": "" for i in range(source.choice((40, 3000)))}
    instruction = source.choice((*odd, "word " * 5000))
    task = {"name": "t" + source.choice(odd), "labels": labels, "instruction": instruction}
    gguf.put(b"ner_edge.task", Value(STRING, json.dumps(task).encode()))
    return gguf_bytes(gguf), str(task)[:80]


def tensor_type(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor is said to be of another type, a norm quantized, say."""
    gguf = parse_gguf(data)
    norms = [tensor for tensor in gguf.tensors if b"norm" in tensor.name]
    tensor = source.choice(source.choice((norms or gguf.tensors, gguf.tensors)))
    tensor.type = source.choice((0, 1, *_QUANTIZED, 4, 5, 15, 24, 31, 39, 99, 2**31, 2**32 - 1))
    if source.random() < 0.5:  # with data enough for it
        gguf.data += b"\0" * 65536
        tensor.offset = len(gguf.data) - 65536
    return gguf_bytes(gguf), f"{tensor.name.decode()} = {tensor.type}"


def tensor_shape(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor has other dimensions: none, four, zero, huge, turned."""
    gguf = parse_gguf(data)
    tensor = source.choice(gguf.tensors)
    dims = tensor.dims
    tensor.dims = source.choice(
        (
            *([], [0], [1, *dims], [*dims, 1, 1][:4], dims[::-1], [dims[0] * 2, *dims[1:]]),
            *([dims[0] // 2 or 1, *dims[1:]], [*dims[:-1], dims[-1] + 1], [*dims[:-1], 0]),
            *([2**63], [2**32, 2**32], [2**31, 2**31, 2**31], [1] * 5, [1] * 200, [2**64 - 1, 2]),
            *([dims[0], 1], [math.prod(dims)], [dims[0] + 32, *dims[1:]]),
        )
    )
    return gguf_bytes(gguf), f"{tensor.name.decode()}: {dims} -> {str(tensor.dims)[:60]}"


def tensor_offset(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor lies elsewhere: over another, unaligned, behind the end, all round."""
    gguf = parse_gguf(data)
    tensor, other = source.choice(gguf.tensors), source.choice(gguf.tensors)
    near = (other.offset, tensor.offset + 32, tensor.offset + 1, max(0, tensor.offset - 32), 0)
    far = (len(gguf.data), len(gguf.data) - 32, 2**40, 2**63, 2**64 - 32, 2**64 - 1)
    before, tensor.offset = tensor.offset, source.choice((source.choice(near), source.choice(far)))
    return gguf_bytes(gguf), f"{tensor.name.decode()}: {before} -> {tensor.offset}"


def tensor_name(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor has another name: of another tensor, empty, too long, no UTF-8, with escapes."""
    gguf = parse_gguf(data)
    tensor, other = source.choice(gguf.tensors), source.choice(gguf.tensors)
    layered = tensor.name.replace(b"blk.1", b"blk.10").replace(b"blk.0", b"blk.-1")
    names = (other.name, layered, tensor.name + b"x", b"rope_freqs.weight", *_TEXTS[:6])
    before, tensor.name = tensor.name, source.choice(names)
    return gguf_bytes(gguf), f"{before.decode()} -> {tensor.name[:40]!r}"


def tensor_list(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor is missing, stands twice, or all stand in another order."""
    gguf = parse_gguf(data)
    change = source.choice(("missing", "twice", "shuffle", "none"))
    index = source.randrange(len(gguf.tensors))
    name = gguf.tensors[index].name.decode()
    if change == "missing":
        del gguf.tensors[index]
    elif change == "twice":
        gguf.tensors.append(gguf.tensors[index])
    elif change == "shuffle":
        source.shuffle(gguf.tensors)
    else:
        gguf.tensors = []
    return gguf_bytes(gguf), f"{change} {name}"


def header_counts(source: Random, data: bytes) -> tuple[bytes, str]:
    """The header counts other than there is."""
    extra = source.choice((1, -1, -5, 10**6, 2**31, 2**62, 2**63))
    tensors = source.random() < 0.5
    gguf = parse_gguf(data)
    changed = gguf_bytes(gguf, extra if tensors else 0, 0 if tensors else extra)
    return changed, f"{'tensors' if tensors else 'values'} {extra:+}"


def version(source: Random, data: bytes) -> tuple[bytes, str]:
    """The file is of another version, or big-endian."""
    new = source.choice((0, 1, 2, 4, 2**31, 0x03000000))
    return data[:4] + struct.pack("<I", new) + data[8:], str(new)


def length_field(source: Random, data: bytes) -> tuple[bytes, str]:
    """A text or list in the header is said to be longer, by little or by exabytes."""
    gguf = parse_gguf(data)
    key, _ = source.choice(gguf.values)
    position = data.index(struct.pack("<Q", len(key)) + key)
    if source.random() < 0.7:
        position += 8 + len(key) + 4  # the value's own length, if it has one
    new = source.choice((0, 1, 10**5, 2**31, 2**40, 2**63, 2**64 - 1, 2**64 - position))
    return data[:position] + struct.pack("<Q", new) + data[position + 8 :], f"{key.decode()}: {new}"


def weights(source: Random, data: bytes) -> tuple[bytes, str]:
    """Weights are not numbers, infinite, huge, or all zero."""
    gguf = parse_gguf(data)
    tensor = source.choice(gguf.tensors)
    value = source.choice(
        (b"\x00\x7e\xc0\x7f", b"\x00\x7c\x00\x7c", b"\0" * 4, b"\xff\x7b\xff\x7b")
    )
    start, count = tensor.offset, source.choice((4, 64, 4096)) // 4
    gguf.data = gguf.data[:start] + value * count + gguf.data[start + 4 * count :]
    return gguf_bytes(gguf), f"{tensor.name.decode()}: {count} times {value!r}"


GGUF_KINDS: list[Mutator] = [
    other_number,
    other_text,
    other_type,
    remove_value,
    duplicate_value,
    rename_value,
    add_value,
    layer_count,
    tokenizer_model,
    tokenizer_array,
    flip_token,
    own_json,
    own_text,
    tensor_type,
    tensor_shape,
    tensor_offset,
    tensor_name,
    tensor_list,
    header_counts,
    version,
    length_field,
    weights,
]
