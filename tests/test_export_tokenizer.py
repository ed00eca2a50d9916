"""llama.cpp splits text into the tokens that the model was trained on."""

import json

import pytest
from exporting import export_model
from gguf import TokenType
from tiny_models import SPECIAL, TEXTS, gguf_tokens, save_model, save_tokenizer
from tokenizers import Tokenizer

from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile


@pytest.fixture(scope="module", params=["smollm", "qwen2", "llama-bpe", "gpt-2", "tekken"])
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    architecture = "qwen2" if request.param == "qwen2" else "llama"
    base = save_model(folder / "base", architecture, padding=40)
    save_tokenizer(base, request.param)
    return base, export_model(base, None, folder, ["f16"])[0], request.param


@pytest.mark.parametrize("text", TEXTS)
def test_same_tokens(exported, text):
    base, path, _ = exported
    expected = Tokenizer.from_file(str(base / "tokenizer.json")).encode(text).ids
    assert gguf_tokens(path, text) == expected


def test_metadata(exported):
    base, path, pre = exported
    file = GGUFFile(path)
    assert file.get("tokenizer.ggml.pre") == pre
    assert file.get("tokenizer.ggml.bos_token_id") == 1
    assert file.get("tokenizer.ggml.eos_token_id") == 2
    assert file.get("tokenizer.ggml.padding_token_id") == 2, "pad may be eos"
    assert file.get("tokenizer.ggml.add_bos_token") is False
    assert "messages" in file.get("tokenizer.chat_template")
    metadata = file.metadata()
    tokens = [token.decode() for token in metadata["tokenizer.ggml.tokens"].value]
    types = dict(zip(tokens, metadata["tokenizer.ggml.token_type"].value, strict=True))
    size = Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab_size()
    assert tokens[size:] == [f"[PAD{i}]" for i in range(size, len(tokens))]
    assert types[tokens[-1]] == TokenType.UNUSED
    assert types["<tool_call>"] == TokenType.USER_DEFINED
    assert {types[token] for token in [*SPECIAL, "<|fim_pad|>"]} == {TokenType.CONTROL}


def test_llama_cpp_does_not_normalize(tmp_path):
    """A known difference: Qwen's tokenizer normalizes to NFC first, llama.cpp does not."""
    base = save_model(tmp_path / "base", "qwen2")
    (path,) = export_model(base, None, tmp_path, ["f16"])
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    assert gguf_tokens(path, "é") == tokenizer.encode("é").ids
    assert gguf_tokens(path, "e\u0301") != tokenizer.encode("e\u0301").ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer is none of gpt-2, smollm"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer does not exist"),
        ({"model": {"type": "WordPiece", "vocab": {}}}, "not a byte-level BPE"),
    ],
)
def test_other_tokenizers_are_refused(change, message, tmp_path):
    base = save_model(tmp_path / "base")
    path = base / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        export_model(base, None, tmp_path / "out", ["f16"])


def test_more_tokens_than_embeddings(tmp_path):
    base = save_model(tmp_path / "base", padding=-2)
    with pytest.raises(ModelError, match="but the model only 420 embeddings"):
        export_model(base, None, tmp_path / "out", ["f16"])


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "tokenizer.json",
            {"added_tokens": [{"id": 9999, "content": "<x>"}, {"id": 1, "content": "<x>"}]},
            r"has token 9999, but the model only \d+ embeddings",
        ),
        ("config.json", {"eos_token_id": [-1]}, "names no end-of-sequence token"),
    ],
)
def test_token_numbers_that_cannot_be(file, change, message, tmp_path):
    base = save_model(tmp_path / "base")
    for name in ("tokenizer_config.json", "generation_config.json"):
        values = json.loads((base / name).read_text())
        values = {key: value for key, value in values.items() if not key.startswith("eos")}
        (base / name).write_text(json.dumps(values))
    path = base / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        export_model(base, None, tmp_path, ["f16"])
