"""A SentencePiece vocabulary, as `tokenizer.json` stores it, as GGUF metadata.

llama.cpp joins the two neighbours whose union has the highest score. Hugging Face stores the same
vocabulary as BPE, which joins the first pair in a list of merges. Both give the same tokens if
token ids are in the order of the merges, and every way to split a token is a merge.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gguf import GGUFWriter, TokenType

from ner_edge.errors import ModelError
from ner_edge.export.read.tokenizer_json import Model, Node, Tokenizer, vocabulary

_SPACE = "▁"
_NORMALIZER = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
# After that normalizer there are no spaces left to split at.
_NO_SPLIT = Node("Split", behavior="MergedWithPrevious", pattern={"String": " "})
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_SCORES = {TokenType.BYTE: 0.0, TokenType.UNUSED: -10000.0}
_SCORE_OF_ADDED = -1000.0


def add_sentencepiece(writer: GGUFWriter, path: Path, tokenizer: Tokenizer, size: int) -> None:
    """Add tokens, types and scores, padded to `size`, to `writer`.

    Raises `ModelError` if llama.cpp would split text differently.
    """
    _check_steps(path, tokenizer)
    # Gemma's text models list the image token of its other models, but have no embedding for it.
    known = [token for token in tokenizer.added_tokens or [] if token.id < size]
    tokens, types = vocabulary(path, Tokenizer(tokenizer.model, known), size)
    ids = {token: number for number, token in enumerate(tokens)}
    for byte in _BYTES:
        types[ids[byte]] = TokenType.BYTE
    normal = {token: i for token, i in ids.items() if types[i] == TokenType.NORMAL}
    _check_merges(path, tokenizer.model, normal)
    for number, kind in enumerate(types):
        if kind == TokenType.USER_DEFINED:
            tokens[number] = tokens[number].replace(_SPACE, " ")
    writer.add_tokenizer_pre("default")
    writer.add_add_space_prefix(False)
    writer.add_token_list(tokens)
    writer.add_token_scores(_scores(types))
    writer.add_token_types(types)


def _check_steps(path: Path, tokenizer: Tokenizer) -> None:
    model = tokenizer.model
    if model.type != "BPE" or not model.byte_fallback or not isinstance(model.vocab, dict):
        raise ModelError(f"{path}: not a SentencePiece vocabulary (BPE with byte_fallback)")
    if tokenizer.normalizer != _NORMALIZER:
        raise ModelError(f"{path}: its normalizer does not exist in llama.cpp")
    if tokenizer.pre_tokenizer not in (None, _NO_SPLIT) or model.ignore_merges:
        raise ModelError(f"{path}: its pre-tokenizer does not exist in llama.cpp")
    if missing := [token for token in _BYTES if token not in model.vocab]:
        raise ModelError(f"{path}: lacks the token {missing[0]}, so some texts have no tokens")


def _check_merges(path: Path, model: Model, normal: Mapping[str, int]) -> None:
    pairs = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model.merges]
    merged = [normal[whole] for pair in pairs if (whole := "".join(pair)) in normal]
    splits = sum(
        token[:i] in model.vocab and token[i:] in model.vocab
        for token in normal
        for i in range(1, len(token))
    )
    if merged != sorted(merged) or len(set(pairs)) < len(pairs) or len(merged) != splits:
        raise ModelError(
            f"{path}: its merges are not those of a SentencePiece vocabulary, so llama.cpp might "
            "split text differently"
        )


def _scores(types: Sequence[TokenType]) -> list[float]:
    """Return scores that fall as token ids rise, like those of the original vocabulary, which has
    gaps."""
    first = next((i for i, kind in enumerate(types) if kind == TokenType.NORMAL), 0)
    return [
        float(first - i) if kind == TokenType.NORMAL else _SCORES.get(kind, _SCORE_OF_ADDED)
        for i, kind in enumerate(types)
    ]
