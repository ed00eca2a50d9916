"""A byte-level BPE `tokenizer.json` as GGUF metadata, after llama.cpp's `convert_hf_to_gguf.py`.

llama.cpp knows pre-tokenizers by name only, so ours must be one of those known here to be equal.
It also leaves out Unicode normalization (Qwen's NFC): text that is not in NFC gets other tokens.
And in tekken (Mistral) it knows only ASCII capitals, which matters within words such as `приВЕТ`.
"""

import re
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, SpecialVocab, TokenType

from ner_edge.errors import ModelError
from ner_edge.export.hf_config import read_json

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
_WHOLE_WORDS_FIRST = ("llama-bpe", "tekken")  # taken from the vocabulary before merging


def add_tokenizer(writer: GGUFWriter, folder: Path, vocabulary: int) -> None:
    """Add the tokenizer in `folder` to `writer`'s metadata, padded to `vocabulary` tokens.

    Raises `ModelError` if it is not a byte-level BPE whose pre-tokenizer llama.cpp has.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_json(path)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(path, tokenizer))
    tokens, types = _vocabulary(path, tokenizer, vocabulary)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = SpecialVocab(folder, load_merges=True, n_vocab=vocabulary)
    if not special.merges:
        raise ModelError(f"{path}: has no merges")
    if "eos" not in special.special_token_ids:
        special.special_token_ids["eos"] = _first_eos(folder)
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)


def _vocabulary(
    path: Path, tokenizer: dict[str, Any], size: int
) -> tuple[list[str], list[TokenType]]:
    """Tokens by id with their types; ids without a token are padding, as are those past the end."""
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [TokenType.UNUSED] * size
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or []}
    ids: dict[str, int] = {**tokenizer["model"]["vocab"], **added}
    if max(ids.values(), default=0) >= size:
        raise ModelError(
            f"{path}: has token {max(ids.values())}, but the model only {size} embeddings"
        )
    for token, number in ids.items():
        tokens[number], types[number] = token, TokenType.NORMAL
    for token in tokenizer.get("added_tokens") or []:
        control = token["special"] or _looks_special(token["content"])
        types[token["id"]] = TokenType.CONTROL if control else TokenType.USER_DEFINED
    return tokens, types


def _looks_special(token: str) -> bool:
    """Is it a control token by its form, though not marked so? (`does_token_look_special`)"""
    return re.fullmatch(r"<\|.*\|>|<｜.*｜>|<unused.*>|<pad>|<mask>", token, re.DOTALL) is not None


def _pre_tokenizer(path: Path, tokenizer: dict[str, Any]) -> str:
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise ModelError(f"{path}: not a byte-level BPE; only those can be exported")
    if (tokenizer.get("normalizer") or {"type": "NFC"}) != {"type": "NFC"}:
        raise ModelError(f"{path}: its normalizer does not exist in llama.cpp")
    steps = tuple(_steps(tokenizer.get("pre_tokenizer") or {}))
    name = _PRE_TOKENIZERS.get(steps)
    if name is None or bool(model.get("ignore_merges")) != (name in _WHOLE_WORDS_FIRST):
        raise ModelError(
            f"{path}: its pre-tokenizer is none of {', '.join(_PRE_TOKENIZERS.values())}, "
            "so llama.cpp might split text otherwise"
        )
    return name


def _steps(node: dict[str, Any]) -> list[str]:
    kind = node.get("type")
    if kind == "Sequence":
        return [step for child in node["pretokenizers"] for step in _steps(child)]
    if kind == "Digits" and node.get("individual_digits"):
        return ["digits"]
    if kind == "ByteLevel" and not node.get("add_prefix_space"):
        return ["bytes+regex" if node.get("use_regex", True) else "bytes"]
    if kind == "Split" and node.get("behavior") == "Isolated" and not node.get("invert"):
        return [str(node["pattern"].get("Regex"))]
    return [f"unknown {kind}"]


def _first_eos(folder: Path) -> int:
    """The end token where the configuration lists several or the tokenizer names none."""
    eos = read_json(folder / "config.json").get("eos_token_id")
    if isinstance(eos, list) and eos:
        eos = eos[0]
    if not isinstance(eos, int):
        raise ModelError(f"{folder}: names no end-of-sequence token (eos_token)")
    return eos
