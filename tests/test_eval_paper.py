"""`--protocol paper`: an adapter's own answers in torch, beside the constrained decoders' ones."""

import json
import warnings
from typing import Any

import pytest
import torch
from command_line import assert_error, run, run_ok
from peft import PeftModel
from tiny_models import add_adapter, load_model, save_model
from transformers import AutoTokenizer

from ner_edge.brackets import parse_brackets
from ner_edge.errors import NerEdgeWarning
from ner_edge.eval import torch_tagger
from ner_edge.eval.paper import paper_candidate
from ner_edge.eval.torch_tagger import TorchTagger
from ner_edge.hf import torch_model
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import Answer, generate
from ner_edge.task import TASK_FILE, load_task

SENTENCES = [
    ["Zoe", "lives", "in", "Rome", "."],
    ["Nothing"],
    ["Ada", "Lovelace", "met", "Kim", "in", "Oslo", "and", "in", "Rome"],
    ["[", "Paris", "|"],
]
CONLL = "-DOCSTART- O\n\n" + "\n\n".join(
    "\n".join(f"{word} {'I-PER' if word in ('Zoe', 'Kim') else 'O'}" for word in words)
    for words in SENTENCES
)


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """A random adapter for the tiny model that answers in a few tokens, and its folder."""
    folder = tmp_path_factory.mktemp("adapters") / "mine"
    add_adapter(load_model(tiny.folder), folder)
    (folder / TASK_FILE).write_text(tiny.task.to_json())
    return folder


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch):
    """A random model seldom ends its line."""

    def generate_few(model, tokenizer, prompts, limit):
        return generate(model, tokenizer, prompts, 12)

    monkeypatch.setattr(torch_model, "generate", generate_few)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "gold.conll"
    path.write_text(CONLL)
    return path


def test_answers_are_the_model_s_own_in_the_sentences_order(tiny, adapter, monkeypatch):
    monkeypatch.setattr(torch_model, "BATCH", 2)
    monkeypatch.setattr(torch_tagger, "_WINDOW", 3)
    # Padding changes the last bits of bfloat16, and with them a random model's choice.
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    tagger = TorchTagger(tiny.folder, adapter, tiny.task)
    found = [(spans, tagger.output) for spans in tagger.tag_words(SENTENCES)]
    model, tokenizer = torch_model.load_base(tiny.folder, torch.float32, torch.device("cpu"))
    model = PeftModel.from_pretrained(model, str(adapter)).eval()
    assert len({output for _, output in found}) > 1
    for words, (spans, output) in zip(SENTENCES, found, strict=True):
        prompt = tokenizer(
            tiny.task.prefix + " ".join(words) + tiny.task.suffix, return_tensors="pt"
        )
        answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
        text = tokenizer.decode(answer[0, prompt.input_ids.shape[1] :], skip_special_tokens=True)
        assert output == text.partition("\n")[0]
        expected = parse_brackets(output, words, tiny.task.labels).spans
        assert [span[:3] for span in spans] == [tuple(span) for span in expected]


def test_only_answers_without_end_are_given_more_room(tiny, monkeypatch):
    limits = []

    def generate(model, tokenizer, prompts, limit):
        limits.append((len(prompts), limit))
        return [Answer(f"{limit} {i}", limit > 500 or i != 1) for i in range(len(prompts))]

    monkeypatch.setattr(torch_model, "generate", generate)
    tokenizer = AutoTokenizer.from_pretrained(tiny.folder)
    encoder = PromptEncoder(tokenizer, tiny.task)
    ((*answers,),) = torch_model.answer_sentences(None, tokenizer, encoder, [["a"] * 100] * 3)
    (_, short), (_, long) = limits
    assert [count for count, _ in limits] == [3, 1]
    assert short < 500 < long
    assert answers == [(0, f"{short} 0"), (1, f"{long} 0"), (2, f"{short} 2")]


def test_an_answer_knows_whether_it_ended(tiny):
    """The random model's answer to one prompt, cut before and after its end."""
    model, tokenizer = torch_model.load_base(tiny.folder, torch.float32, torch.device("cpu"))
    prompt = tokenizer("Zoe lives in").input_ids
    (whole,) = generate(model, tokenizer, [prompt], 6)
    assert not whole.finished
    output = model.generate(torch.tensor([prompt]), max_new_tokens=6, do_sample=False)
    model.generation_config.eos_token_id = [int(output[0, len(prompt) + 3])]
    (ended,) = generate(model, tokenizer, [prompt], 6)
    assert ended.finished
    assert whole.text.startswith(ended.text)
    other = tokenizer("Rome").input_ids
    assert generate(model, tokenizer, [prompt, other], 6)[0].finished


@pytest.mark.parametrize("slow", [True, False])
def test_weights_are_bfloat16_and_freed(tiny, adapter, monkeypatch, slow):
    monkeypatch.setattr(torch_tagger, "is_slow_on_cpu", lambda: slow)
    multiplied: list[Any] = []
    monkeypatch.setattr(torch_tagger, "multiply_in_float32", multiplied.append)
    tagger = TorchTagger(tiny.folder, adapter, tiny.task)
    assert list(tagger.tag_words([])) == []
    model, _ = tagger._load()
    assert model.get_base_model().lm_head.weight.dtype == torch.bfloat16
    assert multiplied == [model] * slow
    tagger.close()
    assert tagger._loaded is None


def test_the_paper_s_row_stands_beside_the_gguf_s(tiny, adapter, data):
    models = ["--adapter", adapter, "--base", tiny.folder, "-m", tiny.gguf, "--threads", 1]
    arguments = ["eval", data, "--protocol", "paper", *models, "--no-speed"]
    stdout = run_ok(*arguments, "--markdown")
    assert "**mine (torch bf16): seqeval, strict, IOB2 (%)**" in stdout
    assert "| Model | F1 | Lenient F1 | Verbatim (%) | Malformed | Misaligned |" in stdout
    assert "decoder: copy, unconstrained greedy (torch bf16, cpu)." in stdout
    assert "4 sentences, 18 tokens (5 and 19 with -DOCSTART- lines)" in stdout
    report = json.loads(run_ok(*arguments, "--json", "-"))
    assert report["baseline"] == "mine (torch bf16)"
    torch_row, gguf = report["models"]
    assert torch_row["bits_per_weight"] == 16
    parameters = sum(p.numel() for p in load_model(tiny.folder).parameters())
    # A padded vocabulary aside, which export leaves out.
    assert torch_row["size_bytes"] == pytest.approx(2 * parameters, rel=0.02)
    assert torch_row["misaligned"] >= torch_row["faults"]["malformed"]
    assert torch_row["calibration"] is None
    assert (gguf["faults"], gguf["misaligned"]) == (None, 0)


def test_a_second_run_decodes_nothing_and_says_the_same(tiny, adapter, data, monkeypatch):
    arguments = ["eval", data, "--protocol", "paper", "--adapter", adapter, "--base", tiny.folder]
    first = json.loads(run_ok(*arguments, "--json", "-"))
    monkeypatch.setattr(TorchTagger, "_load", lambda self: pytest.fail("loaded"))
    assert json.loads(run_ok(*arguments, "--json", "-")) == first
    assert json.loads(run_ok(*arguments, "--json", "-", "--limit", 2))["sentences"] == 2
    kept = "".join(file.read_text() for file in (data.parent / "cache").rglob("*.jsonl"))
    assert "Lovelace" not in kept
    assert "Zoe" not in kept


def test_another_base_is_decoded_anew(tiny, adapter, data, tmp_path):
    other = save_model(
        tmp_path / "other", hidden_size=32, intermediate_size=48, max_position_embeddings=1024
    )
    arguments = ["eval", data, "--protocol", "paper", "--adapter", adapter, "--json", "-"]
    run_ok(*arguments, "--base", tiny.folder)
    result = run(*arguments, "--base", other)
    assert result.exit_code == 0
    assert "earlier run" not in result.stderr


def test_the_adapter_s_own_base_and_a_task_of_one_s_own(tiny, adapter, data, tmp_path):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(tiny.folder)})
    )
    toml = tmp_path / "people.toml"
    toml.write_text('name = "people"\ninstruction = "Find people."\n[labels]\nPER = "person"\n')
    arguments = ["eval", data, "--protocol", "paper", "--adapter", adapter, "--task", toml]
    assert "PER" in run_ok(*arguments)


def test_an_adapter_without_a_task_is_asked_as_told(tiny, tmp_path):
    bare = tmp_path / "bare"
    add_adapter(load_model(tiny.folder), bare)
    with pytest.warns(NerEdgeWarning, match=r"bare: contains no task, so conll2003 is used;"):
        candidate = paper_candidate(str(bare), str(tiny.folder))
    assert candidate.load().task == load_task("conll2003")
    with warnings.catch_warnings():
        warnings.simplefilter("error", NerEdgeWarning)
        chosen = "conll2003:llamafactory-alpaca"
        candidate = paper_candidate(str(bare), str(tiny.folder), chosen)
    assert candidate.load().task == load_task(chosen)


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["--adapter", "x"], "--adapter, --base and --task need --protocol paper", 2),
        (["--protocol", "paper", "--adapter", "x"], "x: no such adapter folder", 2),
        (["--protocol", "paper", "--adapter", "MINE", "--base", "x"], "x: no such file", 2),
        (["--protocol", "paper", "--adapter", "EMPTY"], "names no base", 2),
        (
            ["--protocol", "paper", "--adapter", "EMPTY", "--base", "BASE"],
            "not an adapter",
            1,
        ),
        (
            ["--protocol", "paper", "--adapter", "MINE", "--base", "OTHER"],
            "does not fit the base",
            1,
        ),
    ],
)
def test_mistakes_are_one_line(arguments, message, exit_code, tiny, adapter, data, tmp_path):
    (tmp_path / "empty").mkdir()
    places = {
        "MINE": adapter,
        "EMPTY": tmp_path / "empty",
        "BASE": tiny.folder,
        "OTHER": save_model(tmp_path / "other", hidden_size=64),
    }
    chosen = [str(places.get(argument, argument)) for argument in arguments]
    assert_error(run("eval", data, *chosen), message, exit_code)


def test_torch_missing_is_one_line(data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ner_edge.eval.torch_tagger", None)
    result = run("eval", data, "--protocol", "paper")
    assert_error(result, r"ner-edge\[train\]", 2)
