"""Damage to what people write by hand: TOML."""

import re
from random import Random

from damage_bytes import Mutator
from damage_json import other_encoding

_TOML = (
    *("0", "-1", "true", "1e400", "nan", "inf", "-inf", "9" * 400, "[]", "{}", '""', "''", '"x"'),
    *('"\\u001b[2J"', '"\\ud800"', '"a\\nb"', '"""\na\nb"""', "1979-05-27", "00:00:00", "[1, 2]"),
    *("x", '"' + "x" * 50_000 + '"', "[" * 5000, "{a = " * 5000, "[[]]", '{ "" = 1 }', '"../x"'),
    *("0x7f", '"q9_9"', '"f64"', '"i8"', '"q4_k"', '"iq1_s"', '"<|im_end|>"', '"[x]"', '"a b"'),
    '"|"',
)
_TOML_LINES = (
    *("a." * 50_000 + "a = 1", "[" + "a." * 50_000 + "a]", "[labels]", "[[labels]]"),
    *("labels.PER = 1", "= 1", "x", "x =", "[", "\0", "\x1b[2J = 1", '"\\u001b[2J" = "x"'),
    *("name = 1\nname = 2", "[a]\n[a]", '"" = "x"', "é = 1", '"é" = "x"', "#" + "\x85" * 10),
    *("a = 1 " * 3, '"a b" = "c"', '"[" = "c"', 'template = "alpaca"', 'template = "x"'),
    *("[types]", '"token_embd.weight" = "q2_k"', '"x" = "f16"', '".*" = "q8_0"'),
    *('"(a+)+$" = "q8_0"', 'LABEL = "x"', "\n".join(f'L{i} = "x"' for i in range(3000))),
)
_SETTING_LINES = (
    *("seed = -1", "seed = 9999999999999999999", "epochs = 0", "shard = 3", "lowercase = 2"),
    *("max_tokens = 1", "max_tokens = 1000000000000", "batch_size = 1000000000"),
    *("rank = 1000000000", "rank = 4\nrank = 5", "rank = true", "[rank]", "rank.x = 1"),
    *("alpha = 1" + "0" * 400, "epochs = 1e300", 'dtype = "float16"', "warmup_ratio = 1"),
    *("learning_rate = 1e-400", "weight_decay = -0.0", "checkpoint_every = 0"),
    *("round_every = 0.5", "unknown = 1", "rank: 4"),
)


def _other_value(source: Random, data: bytes, values: tuple[str, ...]) -> tuple[bytes, str]:
    text = data.decode("utf-8", "replace")
    pairs = list(re.finditer(r"(?m)^(\S+\s*[=:]\s*)(.+)$", text))
    if not pairs:
        return values[0].encode(), values[0]
    pair, new = source.choice(pairs), source.choice(values)
    changed = text[: pair.start(2)] + new + text[pair.end(2) :]
    return changed.encode("utf-8", "replace"), f"{pair[1]}{new[:40]}"


def _add_line(source: Random, data: bytes, lines: tuple[str, ...]) -> tuple[bytes, str]:
    new, place = source.choice(lines), source.choice(("before", "after", "alone"))
    parts = {"before": (new.encode(), data), "after": (data, new.encode())}
    return b"\n".join(parts.get(place, (new.encode(),))), f"{place}: {new[:60]}"


def toml_value(source: Random, data: bytes) -> tuple[bytes, str]:
    """A TOML value is another, of whatever type, or none at all."""
    return _other_value(source, data, _TOML)


def toml_line(source: Random, data: bytes) -> tuple[bytes, str]:
    """TOML has one more line: an endless key, a table twice, no TOML."""
    return _add_line(source, data, _TOML_LINES)


def setting_line(source: Random, data: bytes) -> tuple[bytes, str]:
    """Settings have one more line: an impossible setting, or one twice."""
    return _add_line(source, data, _SETTING_LINES)


def remove_line(source: Random, data: bytes) -> tuple[bytes, str]:
    """A line is missing."""
    lines = data.splitlines(keepends=True)
    removed = lines.pop(source.randrange(len(lines))) if lines else b""
    return b"".join(lines), repr(removed[:60])


TOML_KINDS: list[Mutator] = [toml_value, toml_value, toml_line, remove_line, other_encoding]
SETTING_KINDS: list[Mutator] = [*TOML_KINDS, setting_line, setting_line]
