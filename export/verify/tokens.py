"""Does llama.cpp split text into the tokens that the model was trained on?"""

import os
import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ner_edge.errors import ModelError
from ner_edge.export.describe.manifest import Check

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
    try:
        theirs = Tokenizer.from_file(str(base / "tokenizer.json"))
    except Exception as error:  # the library raises nothing more special
        raise ModelError(f"{base / 'tokenizer.json'}: cannot be loaded ({error})") from error
    # llama.cpp takes characters as they are; some tokenizers compose them first.
    texts = [unicodedata.normalize("NFC", text) for text in BATTERY]
    for text, ours in zip(texts, gguf_tokens(vocabulary, texts), strict=True):
        if ours != theirs.encode(text, add_special_tokens=False).ids:
            return Check(name, False, f"llama.cpp splits {text!r} otherwise than tokenizer.json")
    return Check(name, True, f"{len(texts)} texts as by tokenizers {version('tokenizers')}")


def gguf_tokens(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """Token ids by llama.cpp, special tokens in the texts recognised; no weight is loaded."""
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
