"""The parts of a `tokenizer.json` that decide how text becomes tokens.

Format: https://github.com/huggingface/tokenizers.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from gguf import TokenType
from msgspec import Meta

from ner_edge.errors import ModelError
from ner_edge.files.typed import read_json
from ner_edge.hf.folder import TOKENIZER_LIMIT


class AddedToken(msgspec.Struct):
    """A token that is matched before all others."""

    id: Annotated[int, Meta(ge=0)]
    content: str
    special: bool = False


class Model(msgspec.Struct):
    """The vocabulary and its merges."""

    type: str | None = None
    vocab: dict[str, Annotated[int, Meta(ge=0)]] | list[Any] = {}
    """Ids by token; a list in kinds of tokenizers that are not supported."""
    merges: list[tuple[str, str] | str] = []
    byte_fallback: bool | None = None
    ignore_merges: bool | None = None


class Node(msgspec.Struct):
    """A step of the pre-tokenizer, or a sequence of them."""

    type: str | None = None
    pretokenizers: list["Node"] = []
    individual_digits: bool = False
    add_prefix_space: bool = False
    use_regex: bool = True
    behavior: str | None = None
    invert: bool = False
    pattern: dict[str, str] = {}


class Tokenizer(msgspec.Struct):
    """A whole tokenizer."""

    model: Model
    added_tokens: list[AddedToken] | None = None
    normalizer: Any = None
    pre_tokenizer: Node | None = None


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises `ModelError` if it is missing or damaged."""
    if path.exists():
        return read_json(path, Tokenizer, "a tokenizer", limit=TOKENIZER_LIMIT)
    hint = ""
    if path.with_name("tokenizer.model").exists():
        hint = ", only tokenizer.model; save the tokenizer with transformers' save_pretrained"
    raise ModelError(f"{path.parent}: contains no {path.name}{hint}")


def vocabulary(path: Path, tokenizer: Tokenizer, size: int) -> tuple[list[str], list[TokenType]]:
    """Return `size` tokens by id and their types; ids without a token are padding.

    Raises `ModelError` if ids are given twice or exceed `size`.
    """
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
    """Whether llama.cpp takes it for a control token (`does_token_look_special`)."""
    return re.fullmatch(r"<\|.*\|>|<｜.*｜>|<unused.*>|<pad>|<mask>", token, re.DOTALL) is not None
