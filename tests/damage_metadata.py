"""Damage to the metadata of a GGUF that leaves it well formed."""

import json
import math
from random import Random

from damage_bytes import Mutator
from damage_json import JSON_KINDS
from damage_tensors import on_gguf
from gguf_parts import ARRAY, SCALARS, STRING, Gguf, Value

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
    """Return another value of the same type."""
    if old.type == STRING:
        return Value(STRING, source.choice(_TEXTS))
    if old.type == 7:
        return Value(7, source.choice((not old.value, 2)))
    if old.type in (6, 12):
        return Value(old.type, source.choice((*_FLOATS, old.value * 2)))
    return Value(old.type, _number_near(source, old.value))


@on_gguf
def other_number(source: Random, gguf: Gguf) -> str:
    """Change a hyperparameter or id, such as block_count to 0 or the rope base to NaN."""
    scalars = [(key, value) for key, value in gguf.values if value.type in SCALARS]
    key, old = source.choice(scalars)
    new = _other_value(source, old)
    gguf.put(key, new)
    return f"{key.decode()}: {old.value} -> {new.value}"


@on_gguf
def other_text(source: Random, gguf: Gguf) -> str:
    """Replace a text: empty, very long, not UTF-8, with escapes."""
    key, _ = source.choice([pair for pair in gguf.values if pair[1].type == STRING])
    new = source.choice(_TEXTS)
    gguf.put(key, Value(STRING, new))
    return f"{key.decode()} -> {new[:40]!r}"


@on_gguf
def other_type(source: Random, gguf: Gguf) -> str:
    """Replace a value with one of another type."""
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
    return f"{key.decode()}: type {old.type} -> {new.type}, {str(new.value)[:40]}"


@on_gguf
def remove_value(source: Random, gguf: Gguf) -> str:
    key, _ = gguf.values.pop(source.randrange(len(gguf.values)))
    return key.decode()


@on_gguf
def duplicate_value(source: Random, gguf: Gguf) -> str:
    """Repeat a key, with the same value or another."""
    key, value = source.choice(gguf.values)
    other = value if value.type == ARRAY else _other_value(source, value)
    gguf.values.append((key, source.choice((value, other))))
    return key.decode()


@on_gguf
def rename_value(source: Random, gguf: Gguf) -> str:
    """Rename a key: empty, not UTF-8, with escapes."""
    index = source.randrange(len(gguf.values))
    old, value = gguf.values[index]
    new = source.choice((*_TEXTS, old.upper(), old + b"x"))
    gguf.values[index] = (new, value)
    return f"{old.decode()} -> {new[:40]!r}"


def _put_odd_value(source: Random, gguf: Gguf) -> str:
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
    return f"{key.decode()} = {str(value.value)[:40]}"


@on_gguf
def add_value(source: Random, gguf: Gguf) -> str:
    """Add a value that the model should not have: experts, an alignment, splits, a LoRA's."""
    return _put_odd_value(source, gguf)


@on_gguf
def layer_count(source: Random, gguf: Gguf) -> str:
    """Declare no layers, thousands of them, or other sizes."""
    names = (b"block_count", b"embedding_length", b"feed_forward_length", b"context_length")
    heads = (b"attention.head_count", b"attention.head_count_kv", b"attention.key_length")
    name = source.choice((b"block_count", *names, *heads, b"vocab_size", b"rope.dimension_count"))
    number = source.choice((0, 1, 3, 5000, 10**6, 2**31 - 1, 2**32 - 1))
    gguf.put(gguf.get(b"general.architecture") + b"." + name, Value(4, number))
    return f"{name.decode()} = {number}"


@on_gguf
def tokenizer_model(source: Random, gguf: Gguf) -> str:
    """Declare a kind of tokenizer that contradicts its lists."""
    kinds = (b"llama", b"bert", b"t5", b"rwkv", b"plamo2", b"gpt2", b"none", b"no_vocab", b"x")
    pres = (b"default", b"llama-bpe", b"qwen2", b"tekken", b"gpt-4o", b"x", b"")
    key, new = source.choice(((b"model", source.choice(kinds)), (b"pre", source.choice(pres))))
    gguf.put(b"tokenizer.ggml." + key, Value(STRING, new))
    return f"{key.decode()} = {new.decode()}"


@on_gguf
def tokenizer_array(source: Random, gguf: Gguf) -> str:
    """Cut, repeat, shuffle or replace tokens, their types or the merges."""
    arrays = [(key, value) for key, value in gguf.values if value.type == ARRAY]
    if not arrays:  # as in a LoRA
        return _put_odd_value(source, gguf)
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
    return f"{key.decode()}: {change}"


@on_gguf
def flip_token(source: Random, gguf: Gguf) -> str:
    lists = [v for _, v in gguf.values if v.type == ARRAY and v.items == STRING and v.value]
    if not lists:  # as in a LoRA
        return _put_odd_value(source, gguf)
    texts = source.choice(lists).value
    index = source.randrange(len(texts))
    old = bytearray(texts[index] or b"x")
    old[source.randrange(len(old))] = source.choice(
        (0, 0x20, 0x5B, 0x7C, 0xFF, source.randrange(256))
    )
    before, texts[index] = texts[index], bytes(old)
    return f"{index}: {before!r} -> {texts[index]!r}"


@on_gguf
def own_json(source: Random, gguf: Gguf) -> str:
    old = gguf.get(b"ner_edge.task") or json.dumps({"name": "t", "labels": {"A": "a"}}).encode()
    kind = source.choice(JSON_KINDS)
    new, what = kind(source, old)
    gguf.put(b"ner_edge.task", Value(STRING, new))
    return f"{kind.__name__}: {what}"


@on_gguf
def own_text(source: Random, gguf: Gguf) -> str:
    """Replace the task with one of odd texts: escapes, special tokens, endless instructions."""
    odd = (
        *("\x1b[2J", "\u202e", "\x85", "\0", "[", "x" * 3000, "<|im_end|>"),
        *("", "é" * 300, "\u2028"),
    )
    labels = {f"L{source.choice(odd)}": source.choice(odd), "PER": source.choice(odd)}
    if source.random() < 0.2:
        labels |= {f"L{i}": "" for i in range(source.choice((40, 3000)))}
    instruction = source.choice((*odd, "word " * 5000))
    task = {"name": "t" + source.choice(odd), "labels": labels, "instruction": instruction}
    gguf.put(b"ner_edge.task", Value(STRING, json.dumps(task).encode()))
    return str(task)[:80]


METADATA_KINDS: list[Mutator] = [
    *(other_number, other_text, other_type, remove_value, duplicate_value, rename_value, add_value),
    *(layer_count, tokenizer_model, tokenizer_array, flip_token, own_json, own_text),
]
