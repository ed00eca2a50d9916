"""`ner-edge train`: from sentences to an adapter that export takes and tag runs."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from command_line import assert_error, run, run_ok
from safetensors.torch import load_file, save_file
from tiny_models import load_model, save_model

from ner_edge.data.corpus import Sentence
from ner_edge.data.labelled import read_labelled
from ner_edge.hf import torch_model
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import Answer, load_base
from ner_edge.spans import Span
from ner_edge.task import Task
from ner_edge.train.attention import NAME as SHARED_PREFIX_ATTENTION
from ner_edge.train.check import Check
from ner_edge.train.data import DataFile
from ner_edge.train.dev import dev_f1
from ner_edge.train.model import add_adapter
from ner_edge.train.run import run_training
from ner_edge.train.settings import TrainSettings, resolve_settings

TASK = """
name = "tiny"
instruction = "Find entities."
[labels]
PER = "person"
LOC = "location"
"""
NAMES = ["Zoe", "Ada", "Hussain", "Kim"]
PLACES = ["Rome", "England", "Oslo"]
CONLL = "".join(
    f"{name} I-PER\nlives O\nin O\n{place} I-LOC\n. O\n\n" for name in NAMES for place in PLACES
)
# 12 sentences, 4 in a step, 2 epochs: 6 steps.
SETTINGS = {"rank": 4, "alpha": 8, "batch_size": 4, "epochs": 2, "dtype": "float32"}
FLAGS = [x for key, value in SETTINGS.items() for x in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "train.conll").write_text(CONLL)
    (folder / "dev.conll").write_text(CONLL[: CONLL.index("\n\n")])
    (folder / "tiny.toml").write_text(TASK)
    return folder


@pytest.fixture(scope="module")
def trained(tiny, files, tmp_path_factory):
    """An adapter made on the command line, and what was printed."""
    out = tmp_path_factory.mktemp("trained") / "new" / "ner"
    arguments = ["--base", tiny.folder, "--task", files / "tiny.toml", "--out", out]
    result = run("train", files / "train.conll", *arguments, "--dev", files / "dev.conll", *FLAGS)
    assert result.exit_code == 0, result.stderr
    assert [line[:10].rstrip() for line in result.stderr.splitlines()] == [
        "✓ disk",
        "✓ data",
        "✓ dev",
        "✓ template",
        "✓ tokens",
        "✓ memory",
        "✓ time",
    ]
    return out, result.stdout


def test_output_folder_is_complete(tiny, trained):
    out, stdout = trained
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "ner_edge_task.json",
        "training_settings.json",
    }
    weights = load_file(out / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert len(weights) == 2 * 7 * 2, "two halves of seven linear layers in two blocks"
    assert all(weight.any() for weight in weights.values())
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 8)
    assert config["base_model_name_or_path"] == str(tiny.folder)
    saved = json.loads((out / "training_settings.json").read_text())
    assert saved["settings"].items() >= SETTINGS.items()
    assert saved["settings"]["learning_rate"] == 1e-3, "the preset's, resolved"
    assert saved["base"] == str(tiny.folder)
    digest = hashlib.sha256(CONLL.encode()).hexdigest()
    assert saved["data"] == [{"file": "train.conll", "sha256": digest, "weight": 1}]
    assert (saved["steps"], saved["steps_planned"]) == (6, 6)
    match = re.fullmatch(rf"{re.escape(str(out))}\ndev strict micro F1 (\d+\.\d\d)\n", stdout)
    assert float(match[1]) == pytest.approx(saved["dev_f1"], abs=0.005)
    assert 0 <= saved["dev_f1"] <= 100


def test_adapter_is_exported_and_tags(trained, tmp_path):
    out, _ = trained
    (path,) = run_ok("export", out, "-o", tmp_path, "-q", "f16").splitlines()
    assert path == f"{tmp_path}/ner-f16.gguf"
    text = "Zoe lives in Rome.\n"
    tagged = run_ok("tag", "-m", path, "--format", "jsonl", "--threads", 1, stdin=text)
    assert {entity["label"] for entity in json.loads(tagged)["entities"]} <= {"PER", "LOC"}


def test_training_learns(tiny, files, tmp_path):
    losses = []

    def update(done, total=None, *, label=None, note=""):
        losses.append(float(re.match(r"loss ([\d.]+)", note)[1]))

    settings = resolve_settings("edge", flags=SETTINGS | {"epochs": 5, "learning_rate": 0.01})
    task = Task.from_toml(files / "tiny.toml")
    file = [DataFile(files / "train.conll")]
    run_training(str(tiny.folder), file, [], tmp_path, task, settings, update=update)
    assert losses[-1] < 0.85 * losses[0]


def test_gguf_is_a_base_too(tiny, files, tmp_path):
    arguments = ["--base", tiny.gguf, "--task", files / "tiny.toml", "--out", tmp_path / "ner"]
    run_ok("train", files / "train.conll", *arguments, *FLAGS, "--set", "epochs=0.1")
    run_ok("export", tmp_path / "ner", "-o", tmp_path, "-q", "f16")


def test_saving_asks_no_hub(tiny, files, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "peft.utils.save_and_load.check_file_exists_on_hf_hub",
        lambda *_, **__: pytest.fail("asked the hub"),
    )
    monkeypatch.setattr("ner_edge.train.start.resolve_base", lambda _: tiny.folder)
    arguments = ["--base", "smollm2", "--task", files / "tiny.toml", "--out", tmp_path]
    run_ok("train", files / "train.conll", *arguments, *FLAGS, "--set", "epochs=0.1")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2"


# The development set


@pytest.fixture(scope="module")
def adapted(tiny):
    model, tokenizer = load_base(
        tiny.folder, torch.float32, torch.device("cpu"), SHARED_PREFIX_ATTENTION
    )
    model = add_adapter(model, resolve_settings("edge", flags=SETTINGS))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model, tokenizer, PromptEncoder(tokenizer, tiny.task)


SENTENCES = [
    Sentence(["Ada", "Lovelace", "met", "Kim", "in", "Rome", "and", "Oslo"], [Span(0, 2, "PER")]),
    Sentence(["Rome"], [Span(0, 1, "LOC")]),
    Sentence(["Zoe", "lives", "in", "England"], [Span(0, 1, "PER"), Span(3, 4, "LOC")]),
    Sentence(["Nothing", "."], []),
]


def test_dev_answers_are_the_model_s_own(tiny, adapted, tmp_path):
    """Padding, the attention switched for decoding, and quick LoRA layers change no answer."""
    from peft import PeftModel

    model, tokenizer, encoder = adapted
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    reference = PeftModel.from_pretrained(load_model(tiny.folder), str(tmp_path)).eval()
    prompts = [encoder.prefix + encoder.prompt(sentence.words) for sentence in SENTENCES]
    model.get_base_model().set_attn_implementation("sdpa")
    answers = torch_model.generate(model, tokenizer, prompts, limit=20)
    for prompt, answer in zip(prompts, answers, strict=True):
        output = reference.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=20,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            stop_strings=["\n"],
            tokenizer=tokenizer,
        )
        expected = tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)
        assert answer.text == expected.partition("\n")[0]


def test_dev_f1_leaves_the_model_as_it_was(adapted, monkeypatch):
    model, tokenizer, encoder = adapted
    base = model.get_base_model()
    base.set_attn_implementation("ner_edge_shared_prefix")
    generate, reports = torch_model.generate, []
    monkeypatch.setattr(
        torch_model,
        "generate",
        lambda model, tokenizer, prompts, limit: generate(model, tokenizer, prompts, 20),
    )
    f1 = dev_f1(model, tokenizer, encoder, SENTENCES, lambda *call: reports.append(call))
    assert 0 <= f1 <= 100
    assert reports == [(4, 4)]
    assert base.config._attn_implementation == "ner_edge_shared_prefix"


def test_dev_f1_matches_answers_to_sentences(adapted, monkeypatch):
    """Sentences are sorted and batched for decoding; each answer must find its own again."""
    model, tokenizer, encoder = adapted
    monkeypatch.setattr(torch_model, "BATCH", 2)

    def answer(model, tokenizer, prompts, limit):
        texts = [tokenizer.decode(prompt[len(encoder.prefix) :]) for prompt in prompts]
        words = [text.partition("\n")[0].split() for text in texts]
        gold = {tuple(sentence.words): sentence for sentence in SENTENCES}
        examples = [encoder.example(gold[tuple(chosen)]) for chosen in words]
        return [Answer(tokenizer.decode(example.response), True) for example in examples]

    monkeypatch.setattr(torch_model, "generate", answer)
    assert dev_f1(model, tokenizer, encoder, SENTENCES) == 100
    monkeypatch.setattr(
        torch_model,
        "generate",
        lambda m, t, prompts, _: [Answer("[Rome | LOC]", True)] * len(prompts),
    )
    # One of three gold entities right; of the other answers only one holds the word.
    assert 0 < dev_f1(model, tokenizer, encoder, SENTENCES) < 100


# Settings


def test_flags_over_file_over_preset(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("rank = 7\nalpha = 9\nlearning_rate = 1e-4\nepochs = 3\n")
    settings = resolve_settings("edge", path, {"alpha": 11, "seed": 0})
    assert (settings.rank, settings.alpha, settings.seed) == (7, 11, 0)
    assert (settings.learning_rate, settings.epochs) == (1e-4, 3)
    assert (settings.batch_size, settings.max_tokens) == (32, 4096), "the preset's"
    assert resolve_settings("paper", path).batch_size == 8
    (tmp_path / "empty.toml").touch()
    assert resolve_settings("edge", tmp_path / "empty.toml") == resolve_settings("edge")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("rnak = 4", r"unknown setting: rnak \(known: rank, alpha, "),
        ("rank = 'four'", "rank must be a whole number, not 'four'"),
        ("rank = 4.5", "rank must be a whole number, not 4.5"),
        ("rank = true", "rank must be a whole number, not True"),
        ("rank = 0", "rank must be positive, not 0"),
        (f"rank = {10**400}", "rank must be at most 8192, not 1000"),
        ("epochs = true", "epochs must be a number, not True"),
        ("epochs = inf", "epochs must be a number, not inf"),
        ("epochs = 1e9", r"epochs must be at most 10000, not 1000000000\.0"),
        (f"epochs = {10**400}", "epochs must be a number, not 1000"),
        ("learning_rate = nan", "learning_rate must be a number, not nan"),
        ("learning_rate = 'fast'", "learning_rate must be a number, not 'fast'"),
        ("weight_decay = -1", r"weight_decay must be in \[0, 1\], not -1"),
        ("max_grad_norm = 0", "max_grad_norm must be positive, not 0"),
        ("warmup_ratio = 1", r"warmup_ratio must be in \[0, 1\), not 1"),
        ("checkpoint_every = 0", "checkpoint_every must be positive, not 0"),
        ("seed = -1", "seed must be in"),
        ("gradient_checkpointing = 1", "gradient_checkpointing must be true or false, not 1"),
        ("dtype = 'float16'", "dtype must be auto, bfloat16 or float32, not 'float16'"),
        ("rank", r"not TOML with training settings \("),
        ("rank = [4", r"not TOML with training settings \("),
        ("rank = \x00", r"not TOML with training settings \("),
        ("rank = " + "[" * 100_000, r".* \(nested too deeply\)"),
        (".".join("a" * 50_000) + " = 1", r".* \(a key has more than 32 parts\)"),
    ],
    ids=range(24),
)
def test_wrong_settings_are_refused(toml, message, files, tmp_path):
    (tmp_path / "a.toml").write_text(toml)
    result = run("train", files / "train.conll", "--config", tmp_path / "a.toml")
    assert_error(result, rf"a\.toml: {message}", exit_code=2)


def test_yaml_of_older_versions_is_shown_as_toml(files, tmp_path):
    (tmp_path / "a.yaml").write_text(
        "---\n# mine\nrank: 7\nlearning_rate: 1e-4  # less\nshard: True\ndtype: 'float32'\n"
        "epochs : 3\nnot a setting\n"
    )
    result = run("train", files / "train.conll", "--config", tmp_path / "a.yaml")
    message = r"a\.yaml: settings files are TOML, not YAML; save these lines as a \.toml file:\n"
    assert_error(result, message, exit_code=2, lines=6)
    _, _, toml = result.stderr.partition("\n")
    (tmp_path / "a.toml").write_text(toml)
    assert resolve_settings("edge", tmp_path / "a.toml") == resolve_settings(
        "edge",
        flags={
            "rank": 7,
            "learning_rate": 1e-4,
            "shard": True,
            "dtype": "float32",
            "epochs": 3.0,
        },
    )


def test_yaml_without_settings_is_refused(files, tmp_path):
    (tmp_path / "a.yml").write_text("- rank\n")
    result = run("train", files / "train.conll", "--config", tmp_path / "a.yml")
    assert_error(
        result, r"a\.yml: settings files are TOML, with lines like rank = 4\n", exit_code=2
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("rank", "--set rank: expected NAME=VALUE, like rank=4"),
        ("rnak=4", r"--set rnak=4: unknown setting: rnak \(known: rank, alpha, "),
        ("rank=four", "--set rank=four: rank must be a whole number, not 'four'"),
        ("rank=", "--set rank=: rank must be a whole number, not ''"),
        ("rank=4.0", r"--set rank=4\.0: rank must be a whole number, not '4\.0'"),
        ("epochs=nan", "--set epochs=nan: epochs must be a number, not nan"),
        ("shard=yes", "--set shard=yes: shard must be true or false, not 'yes'"),
        ("dtype=half", "--set dtype=half: dtype must be auto, bfloat16 or float32, not 'half'"),
    ],
)
def test_wrong_assignments_are_refused(assignment, message, files):
    result = run("train", files / "train.conll", "--set", "alpha=8", "--set", assignment)
    assert_error(result, message, exit_code=2)


@pytest.fixture
def resolved(files, monkeypatch):
    """The settings that a command line trains with."""
    seen = []
    monkeypatch.setattr("ner_edge.train.run.run_training", lambda *args, **_: seen.append(args[5]))

    def resolve(*arguments):
        run_ok("train", files / "train.conll", *arguments)
        return seen.pop()

    return resolve


def test_set_over_file_over_preset_on_the_command_line(resolved, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("rank = 7\nalpha = 9\n")
    assignments = ("alpha=11", "rank=1", "rank=5", "learning_rate=1e-4", "shard=true", "dtype=auto")
    options = [option for text in assignments for option in ("--set", text)]
    settings = resolved("--preset", "paper", "--config", path, *options)
    assert settings == TrainSettings(rank=5, alpha=11, learning_rate=1e-4, shard=True)
    assert resolved("--config", path).rank == 7
    assert resolved() == resolve_settings("edge")


def test_help_lists_every_setting():
    shown = run_ok("train", "--help")
    for field in fields(TrainSettings):
        assert re.search(rf"\b{field.name}\b", shown), field.name


def test_settings_have_no_flags_of_their_own(files):
    assert run("train", files / "train.conll", "--rank", 4).exit_code == 2


def test_of_several_processes_one_prints(files, monkeypatch):
    def run_training(*_, say, **__):
        say(Check("data", "12 sentences"))

    monkeypatch.setattr("ner_edge.train.run.run_training", run_training)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, printed in (("0", "✓ data      12 sentences\nadapter\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        result = run("train", files / "train.conll")
        assert (result.exit_code, result.stderr + result.stdout) == (0, printed)


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["--preset", "huge"], "--preset huge: no such preset; choose from: paper, edge", 2),
        (["--config", "none.toml"], "none.toml: no such file", 2),
        (["--config", "."], r"\.: is a folder, not a file", 2),
        (["--set", "rank=0"], "--set rank=0: rank must be positive, not 0", 2),
        (["--task", "conll2004"], "no task 'conll2004'", 2),
        (["--base", "./none"], "none: no such file or folder, and not a hub id", 2),
        (["--base", "empty"], r"empty: contains no config\.json", 1),
        (["--base", "text.gguf"], r"text\.gguf: not a GGUF file", 1),
        (["--base", "cut"], r"cut/model\.safetensors: damaged or incomplete safetensors file", 1),
        (["--base", "lacking"], r"lacking: its weights lack blk\.2\.", 1),
        (
            ["--base", "gpt2"],
            "gpt2: architecture 'gpt2' is not supported; choose one of: gemma3_text",
            1,
        ),
        (["--dev", "none.conll"], "none.conll: no such file", 1),
        (["--dev", "other.conll"], "labels ANIMAL are not in task 'conll2003'", 1),
        (["--dev", "plain.conll"], "plain.conll: contains no entities", 1),
        (["--out", "text.gguf"], "--out text.gguf: text.gguf: is not a folder", 2),
    ],
)
def test_mistakes_are_one_line(arguments, message, exit_code, tiny, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.gguf").write_text("no model")
    (tmp_path / "other.conll").write_text("Rex I-ANIMAL\n")
    (tmp_path / "plain.conll").write_text("Rex O\n")
    for name in ("cut", "lacking"):
        shutil.copytree(tiny.folder, tmp_path / name)
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    config = json.loads((tmp_path / "lacking" / "config.json").read_text())
    deeper = config | {"num_hidden_layers": 3, "layer_types": None}
    (tmp_path / "lacking" / "config.json").write_text(json.dumps(deeper))
    if "gpt2" in arguments:
        save_gpt2(tiny, tmp_path / "gpt2")
    base = [] if "--base" in arguments else ["--base", tiny.folder]
    result = run("train", files / "train.conll", *base, *arguments, "--set", "epochs=0.1")
    assert_error(result, message, exit_code)


def save_gpt2(tiny, folder):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=500, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny.folder / name, folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no sentences"),
        ("Rex O\n", "contains no entities, so there is nothing to learn"),
        ("Rex I-ANIMAL\n", r"labels ANIMAL are not in task 'conll2003' \(ORG, PER, LOC, MISC\)"),
        ("Rex S-ANIMAL\n", "labels ANIMAL are not in task"),
        ('{"text": "Rex", "entities": [[0, 3, "ANIMAL"]]}\n', "labels ANIMAL are not in task"),
        ("Rex\n", ":1: expected a word and its tag"),
    ],
)
def test_wrong_data_is_one_line(text, message, tmp_path):
    (tmp_path / "a.conll").write_text(text)
    assert_error(run("train", tmp_path / "a.conll"), message)


def test_missing_extra_is_one_line(files, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ner_edge.train.run", None)
    result = run("train", files / "train.conll")
    assert_error(result, r"pip install 'ner-edge\[train\]'", exit_code=2)


# Resuming


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def train(tiny, files):
    """Train into a folder, killed at a step if told so; returns the steps that were made."""

    def start(out, kill_at=None, resume=False, data="train.conll", **changes):
        steps = []

        def update(done, total=None, *, label=None, note=""):
            steps.append(done)
            if done == kill_at:
                raise Killed

        settings = resolve_settings("edge", flags=SETTINGS | {"checkpoint_every": 2} | changes)
        task = Task.from_toml(files / "tiny.toml")
        base, file = str(tiny.folder), DataFile(files / data)
        run_training(base, [file], [], out, task, settings, resume=resume, update=update)
        return steps

    return start


def killed(train, out):
    with pytest.raises(Killed):
        train(out, kill_at=3)
    assert [path.name for path in out.iterdir()] == ["checkpoint.pt"]


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The adapter of an unbroken run."""
    out = tmp_path_factory.mktemp("whole")
    assert train(out) == [1, 2, 3, 4, 5, 6]
    return load_file(out / "adapter_model.safetensors")


@pytest.mark.parametrize("kill_at", range(1, 7))
def test_resumed_run_ends_like_an_unbroken_one(kill_at, train, whole, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, kill_at=kill_at)
    last_checkpoint = kill_at // 2 * 2
    assert train(tmp_path, resume=True) == list(range(last_checkpoint + 1, 7))
    assert not (tmp_path / "checkpoint.pt").exists()
    broken = load_file(tmp_path / "adapter_model.safetensors")
    assert whole.keys() == broken.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(broken[name], weight, rtol=1e-3, atol=1e-6)


def test_the_same_seed_gives_the_same_adapter(train, whole, tmp_path):
    train(tmp_path)
    again = load_file(tmp_path / "adapter_model.safetensors")
    assert whole.keys() == again.keys()
    assert all(torch.equal(weight, again[name]) for name, weight in whole.items())


def test_two_processes_train_like_one(tiny, tmp_path):
    """13 sentences, 3 in a step: shares are uneven, and of the last step one process has none."""
    (tmp_path / "train.conll").write_text(CONLL + "Rex I-PER\n\n")
    script = Path(__file__).with_name("loss_curve.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    curves, adapters = [], []
    for processes, more in (("1", []), ("2", []), ("2", ["--shard"])):
        out = tmp_path / "".join([processes, *more])
        command = [*launch, processes, script, tiny.folder, tmp_path / "train.conll", out, *more]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        curves.append(json.loads(result.stdout))
        adapters.append(load_file(out / "adapter_model.safetensors"))
    assert len(curves[0]) == 10
    assert curves[0][-1] < 0.9 * curves[0][0], "it learns, so that the curves say something"
    for curve, adapter in zip(curves[1:], adapters[1:], strict=True):
        assert curve == pytest.approx(curves[0], rel=1e-4)
        for name, weight in adapters[0].items():
            torch.testing.assert_close(adapter[name], weight, rtol=1e-2, atol=1e-4)


def test_another_seed_gives_another_adapter(train, tmp_path):
    """Or the test above would pass with any adapter."""
    train(tmp_path / "a")
    train(tmp_path / "b", seed=1)
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("a", "b"))
    assert not all(torch.allclose(weight, b[name], atol=1e-3) for name, weight in a.items())


def test_resuming_something_else_is_refused(train, tiny, files, tmp_path):
    out = tmp_path / "out"
    killed(train, out)
    arguments = ["--base", tiny.folder, "--task", files / "tiny.toml", "--out", out, "--resume"]
    arguments += FLAGS
    start = ["train", files / "train.conll", *arguments]
    message = "--resume: the checkpoint in .*out was made with a different "
    for flag, name in (
        (["--set", "rank=5"], "rank"),
        (["--set", "seed=1"], "seed"),
        (["--set", "epochs=3"], "epochs, steps"),
        (["--set", "learning_rate=0.1"], "learning_rate"),
    ):
        assert_error(run(*start, *flag), message + name, exit_code=2)
    sentences = read_labelled(files / "train.conll")
    assert len(sentences) == 12
    (tmp_path / "other.conll").write_text(CONLL.replace("Zoe", "Eve"))
    other = run("train", tmp_path / "other.conll", *arguments)
    assert_error(other, message + "data", exit_code=2)
    run_ok(*start)


def test_damaged_checkpoint_is_refused(train, tiny, files, tmp_path):
    out = tmp_path / "out"
    killed(train, out)
    checkpoint = out / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    arguments = ["--base", tiny.folder, "--task", files / "tiny.toml", "--out", out, "--resume"]
    for damaged in (b"", b"no checkpoint", whole[:-3000], whole[:100]):
        checkpoint.write_bytes(damaged)
        result = run("train", files / "train.conll", *arguments, *FLAGS)
        assert_error(result, r"checkpoint\.pt: not a checkpoint of this run \(.*\); remove it")


def test_resume_without_a_checkpoint_starts(train, tmp_path):
    assert train(tmp_path / "new", resume=True)[0] == 1


def test_two_bases_of_one_shape_are_told_apart(tiny, trained, tmp_path):
    """An adapter fits any base of the same shape; a wider one is refused by name."""
    out, _ = trained
    wider = save_model(tmp_path / "wider", hidden_size=64)
    assert_error(run("export", out, "--base", wider, "-o", tmp_path), "does not fit the base")


def test_an_adapter_is_trained_further(tiny, trained, files, tmp_path):
    start, _ = trained
    command = ["train", files / "train.conll", "--base", tiny.folder, "--task", files / "tiny.toml"]
    for out, rate in (("still", 1e-12), ("moved", 1e-3)):
        arguments = ["--from", start, "--out", tmp_path / out, "--set", f"learning_rate={rate}"]
        run_ok(*command, *FLAGS, *arguments)
    before = load_file(start / "adapter_model.safetensors")
    still = load_file(tmp_path / "still" / "adapter_model.safetensors")
    moved = load_file(tmp_path / "moved" / "adapter_model.safetensors")
    assert all(torch.allclose(before[name].float(), still[name].float()) for name in before)
    assert any(not torch.equal(before[name], moved[name]) for name in before)
    saved = json.loads((tmp_path / "moved" / "training_settings.json").read_text())
    assert saved["start"] == start.name


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("nothing there", r"adapter_model\.safetensors: no such file"),
        ("rank", r"rank and alpha are 4 and 8, not 2 and 8; pass --set rank=4 --set alpha=8"),
        ("layers", "it has other layers"),
        ("cut", "damaged or incomplete safetensors file"),
    ],
)
def test_what_cannot_be_trained_further_is_one_line(
    damage, message, tiny, trained, files, tmp_path
):
    start = tmp_path / "start"
    shutil.copytree(trained[0], start)
    weights = start / "adapter_model.safetensors"
    flags = list(FLAGS)
    if damage == "nothing there":
        weights.unlink()
    elif damage == "rank":
        flags += ["--set", "rank=2"]
    elif damage == "layers":
        tensors = load_file(weights)
        tensors.popitem()
        save_file(tensors, weights)
    else:
        weights.write_bytes(weights.read_bytes()[:100])
    task = files / "tiny.toml"
    arguments = ["--base", tiny.folder, "--task", task, "--from", start, "--out", tmp_path / "out"]
    assert_error(run("train", files / "train.conll", *arguments, *flags), message)
