"""A byte-level BPE vocabulary as GGUF metadata.

llama.cpp knows pre-tokenizers by name only, so the tokenizer's must equal a known one. llama.cpp
differs in two respects: it skips Unicode normalization (Qwen's NFC), so other text gets other
tokens; and in tekken (Mistral) it recognizes only ASCII capitals, which matters within words
such as `приВЕТ`.
"""

from pathlib import Path

from gguf import GGUFWriter

from ner_edge.errors import ModelError
from ner_edge.export.read.tokenizer_json import Node, Tokenizer, vocabulary

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

# llama.cpp's names by the steps of the pre-tokenizer.
_PRE_TOKENIZERS = {
    ("bytes+regex",): "gpt-2",
    ("digits", "bytes+regex"): "smollm",
    (_QWEN2, "bytes"): "qwen2",
    (_LLAMA3, "bytes"): "llama-bpe",
    (_TEKKEN, "bytes"): "tekken",
}
_WHOLE_WORDS_FIRST = ("llama-bpe", "tekken")  # taken from the vocabulary before merging


def add_byte_level(writer: GGUFWriter, path: Path, tokenizer: Tokenizer, size: int) -> None:
    """Add tokens and types, padded to `size`, and the name of the pre-tokenizer to `writer`.

    Raises `ModelError` if llama.cpp would split text differently.
    """
    writer.add_tokenizer_pre(_pre_tokenizer(path, tokenizer))
    tokens, types = vocabulary(path, tokenizer, size)
    writer.add_token_list(tokens)
    writer.add_token_types(types)


def _pre_tokenizer(path: Path, tokenizer: Tokenizer) -> str:
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
            "so llama.cpp might split text differently"
        )
    return name


def _steps(node: Node) -> list[str]:
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
