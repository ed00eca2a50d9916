"""Does llama.cpp split text into the tokens that the model was trained on?"""

import unicodedata
from importlib.metadata import version
from pathlib import Path

from ner_edge.export.manifest import Check

BATTERY = (
    "Ada Lovelace met Charles Babbage in London in 1833 .",
    "naïve Zürich 東京 Москва שלום مرحبا 😀 e\u0301 [ ] | [[ ]] || <|im_end|>",
    "EU rejects German call to boycott British lamb .",
)
"""Sentences with most of what vocabularies differ in."""


def check_tokens(vocabulary: Path, base: Path) -> Check:
    """Compare the token ids of the battery by llama.cpp, with a GGUF's `vocabulary`, and by the
    tokenizer of `base`, a Hugging Face folder."""
    name = "tokens"
    if not (base / "tokenizer.json").is_file():
        return Check(name, None, "not compared: the base is a GGUF, whose vocabulary is kept")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return Check(name, None, "not compared: needs pip install 'ner-edge[train]'")
    theirs = Tokenizer.from_file(str(base / "tokenizer.json"))
    # llama.cpp takes characters as they are; some tokenizers compose them first.
    texts = [unicodedata.normalize("NFC", text) for text in BATTERY]
    for text, ours in zip(texts, gguf_tokens(vocabulary, texts), strict=True):
        if ours != theirs.encode(text, add_special_tokens=False).ids:
            return Check(name, False, f"llama.cpp splits {text!r} otherwise than tokenizer.json")
    return Check(name, True, f"{len(texts)} texts as by tokenizers {version('tokenizers')}")


def gguf_tokens(path: Path, texts: list[str]) -> list[list[int]]:
    """Token ids by llama.cpp, special tokens in the texts recognised."""
    import llama_cpp

    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    try:
        return [list(model.tokenize(t.encode(), add_bos=False, special=True)) for t in texts]
    finally:
        model.close()
