"""Check that llama.cpp tokenizes text as the base model's own tokenizer does."""

import os
import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ner_edge.errors import ModelError, first_line
from ner_edge.export.describe.manifest import CheckResult

BATTERY = (
    "Ada Lovelace met Charles Babbage in London in 1833 .",
    "naïve Zürich 東京 Москва שלום مرحبا 😀 e\u0301 [ ] | [[ ]] || <|im_end|>",
    "EU rejects German call to boycott British lamb .",
)
"""Texts with scripts, emoji, brackets and special tokens, where tokenizers tend to differ."""


def check_tokens(model: Path, base: Path) -> CheckResult:
    """Compare the token ids of `BATTERY` by llama.cpp, with the vocabulary of a GGUF `model`, and
    by the tokenizer of `base`, a Hugging Face folder.

    Raises `ModelError` if a vocabulary cannot be read.
    """
    name = "tokens"
    if not (base / "tokenizer.json").is_file():
        return CheckResult(name, None, "not compared: the base is a GGUF, whose vocabulary is kept")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return CheckResult(name, None, "not compared: needs pip install 'ner-edge[train]'")
    try:
        theirs = Tokenizer.from_file(str(base / "tokenizer.json"))
    except Exception as error:  # the library raises no class of its own
        path = base / "tokenizer.json"
        raise ModelError(f"{path}: cannot be loaded ({first_line(error)})") from error
    # Some tokenizers normalize to NFC; llama.cpp never does.
    texts = [unicodedata.normalize("NFC", text) for text in BATTERY]
    for text, ours in zip(texts, gguf_tokens(model, texts), strict=True):
        if ours != theirs.encode(text, add_special_tokens=False).ids:
            return CheckResult(
                name, False, f"llama.cpp and tokenizer.json split {text!r} differently"
            )
    detail = f"{len(texts)} texts split as by tokenizers {version('tokenizers')}"
    return CheckResult(name, True, detail)


def gguf_tokens(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """Tokenize texts with llama.cpp, recognizing special tokens; no weights are loaded.

    Raises `ModelError` if llama.cpp cannot read the vocabulary.
    """
    import llama_cpp

    from ner_edge.runtime.llama import start_backend

    def ids(text: str) -> list[int]:
        data = text.encode()
        room = len(data) + 1
        found = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(vocabulary, data, len(data), found, room, False, True)
        return list(found[:count])

    start_backend()
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise ModelError(f"{path}: llama.cpp cannot read its vocabulary")
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    try:
        return [ids(text) for text in texts]
    finally:
        llama_cpp.llama_model_free(model)
