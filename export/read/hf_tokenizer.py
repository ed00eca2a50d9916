"""A byte-level BPE `tokenizer.json` as GGUF metadata, after llama.cpp's `convert_hf_to_gguf.py`.

llama.cpp knows pre-tokenizers by name only, so ours must be one of those known here to be equal.
It also leaves out Unicode normalization (Qwen's NFC): text that is not in NFC gets other tokens.
And in tekken (Mistral) it knows only ASCII capitals, which matters within words such as `приВЕТ`.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from gguf import GGUFWriter, SpecialVocab, TokenType
from msgspec import Meta

from ner_edge.errors import ModelError
from ner_edge.files.typed import read_json

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"\p{N}| ?", r"\p{N}{1,3}| ?")
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# What a chunk of pre-tokenizer steps is called in llama.cpp (`tokenizer.ggml.pre`).
_PRE_TOKENIZERS = {
    ("bytes+regex",): "gpt-2",
    ("digits", "bytes+regex"): "smollm",
    (_QWEN2, "bytes"): "qwen2",
    (_LLAMA3, "bytes"): "llama-bpe",
    (_TEKKEN, "bytes"): "tekken",
}
_LIMIT = 256_000_000  # bytes
_WHOLE_WORDS_FIRST = ("llama-bpe", "tekken")  # taken from the vocabulary before merging


def add_tokenizer(
    writer: GGUFWriter, folder: Path, vocabulary: int, eos: int | list[int] | None
) -> None:
    """Add the tokenizer in `folder` to `writer`'s metadata, padded to `vocabulary` tokens. `eos` is
    what the model's settings say of it.

    Raises `ModelError` if it is not a byte-level BPE whose pre-tokenizer llama.cpp has.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ModelError(f"{folder}: holds no {path.name}")
    tokenizer = read_json(path, _Tokenizer, "a tokenizer", limit=_LIMIT)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(path, tokenizer))
    tokens, types = _vocabulary(path, tokenizer, vocabulary)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    try:
        special = SpecialVocab(folder, load_merges=True, n_vocab=vocabulary)
        special.add_special_token.setdefault("bos", False)
        if "eos" not in special.special_token_ids:
            special.special_token_ids["eos"] = _first_eos(folder, eos, vocabulary)
        special.add_to_gguf(writer, quiet=True)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # gguf takes the types in those files for granted.
        raise ModelError(f"{folder}: its tokenizer's settings cannot be read ({error})") from error
    if not special.merges or not all(isinstance(merge, str) for merge in special.merges):
        raise ModelError(f"{path}: has no merges, or some that are no pairs of tokens")


def _vocabulary(
    path: Path, tokenizer: "_Tokenizer", size: int
) -> tuple[list[str], list[TokenType]]:
    """Tokens by id with their types; ids without a token are padding, as are those past the end."""
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [TokenType.UNUSED] * size
    added = {token.content: token.id for token in tokenizer.added_tokens or []}
    assert isinstance(tokenizer.model.vocab, dict)
    ids = tokenizer.model.vocab | added
    largest = max([*ids.values(), *(token.id for token in tokenizer.added_tokens or [])], default=0)
    if largest >= size:
        raise ModelError(f"{path}: has token {largest}, but the model only {size} embeddings")
    for token, number in ids.items():
        tokens[number], types[number] = token, TokenType.NORMAL
    if len(set(ids.values())) < len(ids):
        raise ModelError(f"{path}: gives one id to several tokens")
    for added_token in tokenizer.added_tokens or []:
        control = added_token.special or _looks_special(added_token.content)
        types[added_token.id] = TokenType.CONTROL if control else TokenType.USER_DEFINED
    return tokens, types


def _looks_special(token: str) -> bool:
    """Is it a control token by its form, though not marked so? (`does_token_look_special`)"""
    return re.fullmatch(r"<\|.*\|>|<｜.*｜>|<unused.*>|<pad>|<mask>", token, re.DOTALL) is not None


def _pre_tokenizer(path: Path, tokenizer: "_Tokenizer") -> str:
    model = tokenizer.model
    if model.type != "BPE" or model.byte_fallback or not isinstance(model.vocab, dict):
        raise ModelError(f"{path}: not a byte-level BPE; only those can be exported")
    if (tokenizer.normalizer or {"type": "NFC"}) != {"type": "NFC"}:
        raise ModelError(f"{path}: its normalizer does not exist in llama.cpp")
    steps = tuple(_steps(tokenizer.pre_tokenizer)) if tokenizer.pre_tokenizer else ()
    name = _PRE_TOKENIZERS.get(steps)
    if name is None or bool(model.ignore_merges) != (name in _WHOLE_WORDS_FIRST):
        raise ModelError(
            f"{path}: its pre-tokenizer is none of {', '.join(_PRE_TOKENIZERS.values())}, "
            "so llama.cpp might split text otherwise"
        )
    return name


def _steps(node: "_Node") -> list[str]:
    kind = node.type
    if kind == "Sequence":
        return [step for child in node.pretokenizers for step in _steps(child)]
    if kind == "Digits" and node.individual_digits:
        return ["digits"]
    if kind == "ByteLevel" and not node.add_prefix_space:
        return ["bytes+regex" if node.use_regex else "bytes"]
    if kind == "Split" and node.behavior == "Isolated" and not node.invert:
        return [str(node.pattern.get("Regex"))]
    return [f"unknown {kind}"]


def _first_eos(folder: Path, eos: int | list[int] | None, vocabulary: int) -> int:
    """The end token where the configuration lists several or the tokenizer names none."""
    first = next(iter(eos), None) if isinstance(eos, list) else eos
    if first is None or not 0 <= first < vocabulary:
        raise ModelError(f"{folder}: names no end-of-sequence token (eos_token)")
    return first


class _AddedToken(msgspec.Struct):
    id: Annotated[int, Meta(ge=0)]
    content: str
    special: bool = False


class _Model(msgspec.Struct):
    type: str | None = None
    vocab: dict[str, Annotated[int, Meta(ge=0)]] | list[Any] = {}
    """Ids by token; a list is another kind of tokenizer's."""
    byte_fallback: bool | None = None
    ignore_merges: bool | None = None


class _Node(msgspec.Struct):
    """A step of the pre-tokenizer, or a sequence of them."""

    type: str | None = None
    pretokenizers: list["_Node"] = []
    individual_digits: bool = False
    add_prefix_space: bool = False
    use_regex: bool = True
    behavior: str | None = None
    invert: bool = False
    pattern: dict[str, str] = {}


class _Tokenizer(msgspec.Struct):
    model: _Model
    added_tokens: list[_AddedToken] | None = None
    normalizer: Any = None
    pre_tokenizer: _Node | None = None
