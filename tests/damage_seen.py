"""Damage that once led to a traceback, an abort, a hang or a wrong success."""

import json
import struct
from collections.abc import Callable
from typing import Any

from damage_safetensors import parse_safetensors, safetensors_bytes
from damage_settings import SLOW_PATTERNS
from gguf_parts import ARRAY, STRING, Gguf, Value, gguf_bytes, parse_gguf

Change = Callable[[bytes], bytes]
_UINT32, _FLOAT32 = 4, 6
_Q4_0, _Q8_0 = 2, 8


def _value(key: str, kind: int, value: Any) -> Change:
    def change(gguf: Gguf) -> None:
        gguf.put(key.encode(), Value(kind, value))

    return _gguf(change)


def _gguf(change: Callable[[Gguf], None]) -> Change:
    def changed(data: bytes) -> bytes:
        gguf = parse_gguf(data)
        change(gguf)
        return gguf_bytes(gguf)

    return changed


def _array(key: str, change: Callable[[list[Any]], list[Any]]) -> Change:
    def changed(gguf: Gguf) -> None:
        name = f"tokenizer.ggml.{key}".encode()
        old = next(value for held, value in gguf.values if held == name)
        gguf.put(name, Value(ARRAY, change(list(old.value)), old.items))

    return _gguf(changed)


def _tensor(tensor_name: str, **values: Any) -> Change:
    def change(gguf: Gguf) -> None:
        tensor = next(tensor for tensor in gguf.tensors if tensor.name == tensor_name.encode())
        for field, value in values.items():
            setattr(tensor, field, value)

    return _gguf(change)


def _quantized_norm(kind: int) -> Change:
    def change(gguf: Gguf) -> None:
        norm = next(tensor for tensor in gguf.tensors if b"attn_norm" in tensor.name)
        norm.type, norm.offset = kind, len(gguf.data)
        gguf.data += b"\0" * 4096

    return _gguf(change)


def _task(text: str) -> Change:
    return _value("ner_edge.task", STRING, text.encode())


def _set(key: str, value: Any) -> Change:
    return lambda data: json.dumps(json.loads(data) | {key: value}).encode()


def _check(key: str, value: Any) -> Change:
    def change(data: bytes) -> bytes:
        record = json.loads(data)
        next(iter(record["checks"].values()))[key] = value
        return json.dumps(record).encode()

    return change


def _entry(**fields: Any) -> Change:
    def change(data: bytes) -> bytes:
        file = parse_safetensors(data)
        name = next(name for name in file.header if name != "__metadata__")
        file.header[name] |= fields
        return safetensors_bytes(file)

    return change


def _twice(data: bytes) -> bytes:
    file = parse_safetensors(data)
    (name, entry), *_ = [pair for pair in file.header.items() if pair[0] != "__metadata__"]
    file.header = f"{json.dumps(file.header)[:-1]}, {json.dumps({name: entry})[1:]}".encode()
    return safetensors_bytes(file)


def _no_numbers(data: bytes) -> bytes:
    """Make the last weights NaN in every type of float."""
    return data[:-64] + _NAN * 16


def _is(text: str) -> Change:
    return lambda data: text.encode()


def _with(line: str) -> Change:
    return lambda data: f"{line}\n".encode() + data


_NAN = b"\x00\x7e\xc0\x7f"  # as one float32 and as two float16
_LAYERS = "llama.block_count"
_FEED = "blk.0.ffn_up.weight"
_DEEP = '{"a":' * 100_000
_WEIGHTS, _LORA = "base/model.safetensors", "adapter/adapter_model.safetensors"
_LORA_CONFIG = "adapter/adapter_config.json"

SEEN: list[tuple[str, str, str, Change]] = [
    # family, file, description, and the change that makes it
    ("model", "model.gguf", "no layers", _value(_LAYERS, _UINT32, 0)),
    ("model", "model.gguf", "5000 layers", _value(_LAYERS, _UINT32, 5000)),
    ("model", "model.gguf", "experts of a dense model", _value("llama.expert_count", _UINT32, 8)),
    ("model", "model.gguf", "experts in use", _value("llama.expert_used_count", _UINT32, 2)),
    ("model", "model.gguf", "alignment 1", _value("general.alignment", _UINT32, 1)),
    ("model", "model.gguf", "alignment 0", _value("general.alignment", _UINT32, 0)),
    ("model", "model.gguf", "norm in q4_0", _quantized_norm(_Q4_0)),
    ("model", "model.gguf", "norm in q8_0", _quantized_norm(_Q8_0)),
    ("model", "model.gguf", "vocabulary said to be llama's",
     _value("tokenizer.ggml.model", STRING, b"llama")),
    ("model", "model.gguf", "vocabulary said to be bert's",
     _value("tokenizer.ggml.model", STRING, b"bert")),
    ("model", "model.gguf", "half the tokens", _array("tokens", lambda x: x[: len(x) // 2])),
    ("model", "model.gguf", "half the types", _array("token_type", lambda x: x[: len(x) // 2])),
    ("model", "model.gguf", "no merges", _array("merges", lambda x: [])),
    ("model", "model.gguf", "a token twice", _array("tokens", lambda x: [*x[:-1], x[0]])),
    ("model", "model.gguf", "a token that is no UTF-8",
     _array("tokens", lambda x: [b"\xff", *x[1:]])),
    ("model", "model.gguf", "overlapping tensors", _tensor(_FEED, offset=0)),
    ("model", "model.gguf", "a tensor of no dimensions", _tensor(_FEED, dims=[])),
    ("model", "model.gguf", "a tensor of four dimensions", _tensor(_FEED, dims=[32, 64, 1, 1])),
    ("model", "model.gguf", "an escape in a tensor's name", _tensor(_FEED, name=b"\x1b[2J")),
    ("model", "model.gguf", "an escape in its name", _value("general.name", STRING, b"\x1b[2J")),
    ("model", "model.gguf", "rope base NaN",
     _value("llama.rope.freq_base", _FLOAT32, float("nan"))),
    ("model", "model.gguf", "deeply nested task", _task(_DEEP)),
    ("model", "model.gguf", "half a surrogate pair in the task",
     _task('{"name": "\\ud800", "labels": {"A": "a"}, "instruction": "x"}')),
    ("model", "model.gguf", "an escape in a label",
     _task('{"name": "t", "labels": {"A\\u001b[2J": "a"}, "instruction": "x"}')),
    ("model", "model.gguf", "temperature 1e-320",
     _value("ner_edge.temperature", STRING, b"1e-320")),
    ("model", "model.gguf", "weights that are no numbers", _no_numbers),
    ("adapter", _LORA, "weights that are no numbers", _no_numbers),
    ("base", _WEIGHTS, "weights that are no numbers", _no_numbers),
    ("adapter", _LORA_CONFIG, "rank 0", _set("r", 0)),
    ("adapter", _LORA_CONFIG, "alpha of 400 digits", _set("lora_alpha", 10**400)),
    *(("adapter", _LORA_CONFIG, f"alpha for {pattern[:20]}", _set("alpha_pattern", {pattern: 2}))
      for pattern in SLOW_PATTERNS[:4]),
    ("adapter", _LORA_CONFIG, "nesting", _is(_DEEP)),
    ("adapter", _LORA, "negative offsets", _entry(data_offsets=[-256, 0])),
    ("adapter", _LORA, "huge offsets", _entry(data_offsets=[2**63, 2**63 + 256])),
    ("adapter", _LORA, "another type", _entry(dtype="F32")),
    ("adapter", _LORA, "a tensor twice", _twice),
    ("adapter", "adapter/ner_edge_calibration.json", "1e-320", _is('{"temperature": 1e-320}')),
    ("base", "base/config.json", "10^9 layers", _set("num_hidden_layers", 10**9)),
    ("base", "base/config.json", "a layer less than there are", _set("num_hidden_layers", 1)),
    ("base", "base/config.json", "another width than there is", _set("intermediate_size", 48)),
    ("base", _WEIGHTS, "integer weights", _entry(dtype="I32")),
    ("base", _WEIGHTS, "overlapping tensors", _entry(data_offsets=[0, 4])),
    ("base", _WEIGHTS, "a header of exabytes", lambda data: struct.pack("<q", -1) + data[8:]),
    ("base", "base/tokenizer.json", "nesting", _is(_DEEP)),
    ("task", "task.toml", "a key of 50 000 parts", _with("a." * 50_000 + "a = 1")),
    ("task", "task.toml", "a number of 5000 digits", _with("a = " + "9" * 5000)),
    ("settings", "settings.toml", "rank 0", _is("rank = 0\n")),
    ("settings", "settings.toml", "nesting", _is("rank = " + "[" * 5000)),
    ("recipe", "recipe.toml", "a key of 50 000 parts", _with("a." * 50_000 + "a = 1")),
    ("manifest", "model.json", "passed 0", _check("passed", 0)),
    ("manifest", "model.json", "another size", _set("bytes", 1)),
    ("manifest", "model.json", "another file", _set("file", "b.gguf")),
    ("manifest", "model.json", "another task", _set("task", "other")),
    ("manifest", "model.json", "nesting", _is(_DEEP)),
]  # fmt: skip
MUST_FAIL = {
    *("a layer less than there are", "another width than there is", "integer weights"),
    *("passed 0", "another size", "another file", "another task", "weights that are no numbers"),
}
"""Damage that no command may accept."""
TRIED_ON = {
    "model": ("tag", "export q8_0"),
    "adapter": ("export", "train --from"),
    "base": ("export base", "train --base"),
    "task": ("data check",),
    "settings": ("train --config",),
    "recipe": ("export --recipe",),
    "manifest": ("verify",),
}
"""For each family, the commands that read most of a file."""
