"""Damage to the metadata of a GGUF: well formed, but wrong."""

import json
import math
from random import Random

from damage_bytes import Mutator
from damage_json import JSON_KINDS
from gguf_parts import ARRAY, SCALARS, STRING, Value, gguf_bytes, parse_gguf

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
            *(Value(source.choice((6, 12)), source.choice(_FLOATS)), Value(7, True)),
            *(Value(ARRAY, [1, 2], 5), Value(ARRAY, [], 4)),
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
        *("\x1b[2J", "\u202e", "\x85", "\0", "[", "x" * 3000, "<|im_end|>", "", "é" * 300),
        "\u2028",
    )
    labels = {f"L{source.choice(odd)}": source.choice(odd), "PER": source.choice(odd)}
    if source.random() < 0.2:
        labels |= {f"L{i}": "" for i in range(source.choice((40, 3000)))}
    instruction = source.choice((*odd, "word " * 5000))
    task = {"name": "t" + source.choice(odd), "labels": labels, "instruction": instruction}
    gguf.put(b"ner_edge.task", Value(STRING, json.dumps(task).encode()))
    return gguf_bytes(gguf), str(task)[:80]


METADATA_KINDS: list[Mutator] = [
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
]
