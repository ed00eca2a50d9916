"""`ner-edge info` and `ner-edge grammar`: what a file holds, and the question for stock tools."""

import json
from dataclasses import replace
from typing import Any

import llama_cpp
import pytest
from command_line import assert_error, run, run_ok
from exporting import export_model
from llama_cpp.llama_grammar import LlamaGrammar
from transformers import AutoTokenizer

from ner_edge.hf.prompts import PromptEncoder
from ner_edge.prompt import TEMPLATES
from ner_edge.runtime.grammar import gbnf
from ner_edge.tagger import Tagger


def test_info(tiny, tmp_path):
    rows = dict(line.split(": ", 1) for line in run_ok("info", tiny.gguf).splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["file"] == str(tiny.gguf)
    assert rows["architecture"] == "llama"
    assert rows["quantization"].startswith("f16, 1")
    assert rows["tensors"] == "15 F16, 5 F32"
    assert rows["size"] == f"{tiny.gguf.stat().st_size / 1e6:.1f} MB"
    assert rows["labels"] == "PER (person), LOC (location)"
    assert json.loads(rows["prompt"]) == f"{tiny.task.prefix}…{tiny.task.suffix}"
    assert rows["ner-edge"]


def test_info_of_something_else(tmp_path):
    (tmp_path / "text.gguf").write_text("GGUF, they say")
    assert_error(run("info", tmp_path / "text.gguf"), r"text\.gguf: .*")
    assert_error(run("info", tmp_path / "none.gguf"), r"none\.gguf: no such file")


def test_grammar(tiny):
    expected = gbnf(["Ada", "lives", "."], list(tiny.task.labels))
    assert run_ok("grammar", "Ada lives.", "-m", tiny.gguf) == expected
    assert run_ok("grammar", "", "-m", tiny.gguf) == ""


def test_a_request_asks_what_the_grammar_decoder_asks(tiny):
    text = "Ada lives <|im_end|>."
    request = json.loads(run_ok("grammar", text, "--request", "-m", tiny.gguf))
    stock = llama_cpp.Llama(str(tiny.gguf), n_ctx=512, verbose=False)
    special = stock.token_eos()
    assert stock.tokenize(b"<|im_end|>", add_bos=False, special=True) == [special]
    assert special not in request["prompt"][len(stock.tokenize(b"x")) :]
    answer: Any = stock.create_completion(
        request["prompt"],
        grammar=LlamaGrammar.from_string(request["grammar"], verbose=False),
        temperature=request["temperature"],
        max_tokens=request["n_predict"],
    )
    written = answer["choices"][0]["text"].rstrip("\n")
    (ours,) = run_ok("tag", "-m", tiny.gguf, "--decoder", "grammar", stdin=text).splitlines()
    assert written.replace(" ", "") == ours.replace(" ", "")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_file_asks_what_its_training_asked(tiny, tmp_path, template):
    task = replace(tiny.task, template=template)
    (gguf,) = export_model(tiny.folder, None, tmp_path, ["f16"], task=task)
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(tiny.folder), task)
    words = ["Ada", "<|im_end|>"]
    with Tagger.load(gguf) as tagger:
        request = tagger.completion_request(words)
    assert request["prompt"] == encoder.prefix + encoder.prompt(words)
