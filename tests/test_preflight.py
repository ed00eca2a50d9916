"""What a training run says before it starts, and what it refuses early."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import assert_error, run, run_ok
from peft import LoraConfig, get_peft_model
from tiny_models import save_model
from transformers import AutoConfig, AutoModelForCausalLM

from ner_edge.hf.prompts import Example
from ner_edge.hf.torch_model import load_base
from ner_edge.train import memory_estimate, resource_checks
from ner_edge.train.attention import NAME
from ner_edge.train.fingerprint import fingerprint
from ner_edge.train.lora import speed_up_lora
from ner_edge.train.loss import packed_loss, read_packed, word_losses
from ner_edge.train.memory_estimate import kept_activations, kept_for_head
from ner_edge.train.model import checkpoint_gradients
from ner_edge.train.packing import pack
from ner_edge.train.preflight import histogram
from ner_edge.train.word_head import WordHeadModule

TASK = """
name = "tiny"
instruction = "Find entities."
[labels]
PER = "person"
LOC = "location"
"""
CONLL = "Zoe I-PER\nlives O\nin O\nRome I-LOC\n. O\n\n" * 4 + "Kim I-PER\n\nNothing O\n\n"
SETTINGS = ("rank=4", "alpha=8", "batch_size=4", "epochs=1", "dtype=float32")
FLAGS = [x for setting in SETTINGS for x in ("--set", setting)]


@pytest.fixture
def command(tiny: Any, tmp_path: Path) -> list[Any]:
    """A run into `tmp_path/out`."""
    (tmp_path / "train.conll").write_text(CONLL)
    (tmp_path / "tiny.toml").write_text(TASK)
    return [
        *("train", tmp_path / "train.conll", "--out", tmp_path / "out", "--base", tiny.folder),
        *("--task", tmp_path / "tiny.toml", *FLAGS),
    ]


def test_what_is_left_out_and_how_columns_were_read_is_said(
    command: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "train.conll").write_text(
        '{"text": "Zoe left. Ada stays.", "entities": [[0, 2, "PER"], [10, 13, "PER"]]}\n'
    )
    (tmp_path / "dev.tsv").write_text("1\tZoe\tB-PER\tO\n2\tRome\tI-PER\tB-LOC\n")
    dev = ["--dev", tmp_path / "dev.tsv", "--dry-run"]
    assert "choose with --columns 2,3 or --columns 2,4" in run(*command, *dev).stderr
    disk, _, others = run_ok(*command, *dev, "--columns", "2,4").partition("\n")
    assert disk.startswith("✓ disk ")
    assert others.startswith(
        "✓ data      1 sentence, 1 entity (PER 1, LOC 0); 1 sentence left out (an entity does "
        "not start and end at word boundaries), 1 entity left out\n"
        "✓ dev       1 sentence, 1 entity (PER 0, LOC 1); separated by tabs; word column 2; "
        "tags column 4, IOB2\n"
    )


def test_dry_run_says_what_it_takes_and_leaves_no_trace(command: list[Any], tmp_path: Path) -> None:
    result = run(*command, "--dev", tmp_path / "train.conll", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    number = r"\d+(\.\d+)?"
    expected = rf"""✓ disk      needs about {number} GB; {number} GB are free
✓ data      6 sentences, 9 entities \(PER 5, LOC 4\)
✓ dev       6 sentences, 9 entities \(PER 5, LOC 4\)
✓ template  alpaca, task tiny
  │ ### Instruction:
  │ Find entities\.
  │ Zoe lives in Rome \.
  │ *
  │ ### Response:
  │ \[Zoe \| PER\] lives in \[Rome \| LOC\] \.
✓ tokens    median \d+ per sentence, longest \d+, limit 2048 \(.*\); each includes .*, \d+
(  +\d+ to \d+ +\d+( █+)?\n)+✓ memory    needs about {number} GB \(float32 weights .*\); .* free
✓ time      about \d+ s: 2 steps of {number} s
"""
    assert re.fullmatch(expected, result.stdout), result.stdout
    assert not (tmp_path / "out").exists()


def test_a_real_run_says_the_same_in_brief(command: list[Any], tmp_path: Path) -> None:
    dry = run(*command, "--dry-run").stdout.splitlines()
    lines = run(*command).stderr.splitlines()
    checks = [line for line in dry if line[0] in "✓✗"]
    assert lines[1:4] == checks[1:4], "data, template, tokens"
    assert [line[:10] for line in lines] == [line[:10] for line in checks]


def test_a_sentence_too_long_is_refused(command: list[Any], tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(CONLL + "Rex I-PER\n" * 600 + "\n")
    for flags, limit, way_out in (
        (
            ["--set", "max_tokens=200"],
            "max_tokens, 200",
            "split it, or raise max_tokens with --set",
        ),
        (["--set", "max_tokens=9999"], "the model's context, 2048", "split it"),
    ):
        message = (
            rf"1 of 7 sentences needs more tokens than {limit}; sentence 7, the longest "
            rf"\('Rex Rex Rex Rex Rex …'\), needs \d+: {way_out}\n$"
        )
        dry = run(*command, *flags, "--dry-run")
        assert dry.exit_code == 1
        assert "\n✗ tokens " in dry.stdout
        assert re.search(message, dry.stderr)
        result = run(*command, *flags)
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.search(message, result.stderr)


def test_too_little_memory_is_said(command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_checks, "free_memory", lambda _: 1000)
    result = run(*command, "--dry-run")
    assert result.exit_code == 1
    last = result.stdout.splitlines()[-1]
    assert re.match(
        r"✗ memory .* 0.0 GB are free; lower batch_size or max_tokens with --set, or", last
    )
    assert run(*command).exit_code == 0, "an estimate forbids nothing"


def test_the_limit_of_a_container_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available_memory", lambda: 123)
    assert memory_estimate.free_memory(torch.device("cpu")) == 123


def test_unknown_free_memory_is_no_obstacle(
    command: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_checks, "free_memory", lambda _: None)
    (line,) = (x for x in run_ok(*command, "--dry-run").splitlines() if x.startswith("✓ memory"))
    assert line.endswith(")"), "no figure for what is free"


@pytest.fixture
def other_base(tmp_path: Path) -> Path:
    """Of the same shape as the tiny model, with other weights."""
    return save_model(
        tmp_path / "other",
        hidden_size=32,
        intermediate_size=48,
        max_position_embeddings=2048,
        initializer_range=0.3,
    )


def test_an_adapter_of_another_base_is_refused(
    command: list[Any], other_base: Path, tmp_path: Path, tiny: Any
) -> None:
    run_ok(*command)
    start = (tmp_path / "out").rename(tmp_path / "start")
    command += ["--from", start, "--dry-run"]
    message = "start: was trained for another base ('.*tiny'), not for '.*other'"
    assert_error(
        run(*command, "--base", other_base), message.replace("(", r"\(").replace(")", r"\)")
    )
    moved = tmp_path / "moved"
    moved.symlink_to(tiny.folder)
    run_ok(*command, "--base", moved)
    # Adapters from elsewhere have only a name.
    (start / "training_settings.json").unlink()
    run_ok(*command)
    assert_error(run(*command, "--base", other_base), "start: was trained for '.*tiny', not for")
    config = json.loads((start / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "somebody/other"
    (start / "adapter_config.json").write_text(json.dumps(config))
    run_ok(*command, "--base", other_base)


def test_resuming_from_something_else_is_refused(
    command: list[Any], other_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ok(*command)
    start = (tmp_path / "out").rename(tmp_path / "start")
    with monkeypatch.context() as patch:
        patch.setattr("ner_edge.train.run.save_adapter", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(*command, "--set", "checkpoint_every=1")
    command += ["--resume", "--dry-run"]
    message = r"--resume: the checkpoint in .*out was made with a different "
    assert_error(run(*command, "--base", other_base), message + "--base$", exit_code=2)
    assert_error(run(*command, "--from", start), message + "--from$", exit_code=2)
    assert_error(run(*command, "--set", "seed=5"), message + "seed$", exit_code=2)
    run_ok(*command)
    assert (tmp_path / "out" / "checkpoint.pt").exists()


def test_fingerprint_knows_weights_and_not_their_precision(tiny: Any, other_base: Path) -> None:
    cpu = torch.device("cpu")
    model, half = (load_base(tiny.folder, t, cpu)[0] for t in (torch.float32, torch.bfloat16))
    assert fingerprint(model) == fingerprint(half)
    assert fingerprint(model) != fingerprint(load_base(other_base, torch.float32, cpu)[0])


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("prefix", "lengths"), [(200, [60] * 9), (7, [80, 20, 30]), (50, [300])])
def test_memory_formula_is_what_autograd_keeps(
    prefix: int, lengths: list[int], checkpointing: bool, family: str
) -> None:
    heads = {} if family in ("llama", "qwen2") else {"head_dim": 24}  # as wide as Gemma's: 1.5
    config = AutoConfig.for_model(
        family,
        **heads,
        vocab_size=64,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=NAME, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear")).train()
    speed_up_lora(model)
    if checkpointing:
        checkpoint_gradients(model)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            kept[address] = tensor
        return tensor

    examples = [Example([1] * (length - 10), [2] * 10) for length in lengths]
    batch = pack([3] * prefix, examples, dtype=torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = packed_loss(model.get_base_model(), batch)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    formula = kept_activations(config, 2, 8, prefix, lengths, checkpointing)
    if checkpointing:  # one block at a time is computed again, which autograd has not kept yet
        assert measured < formula
    else:
        assert formula + 2 * trained == pytest.approx(measured, rel=0.1)
    loss.backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_for_the_word_head_is_what_it_adds(dtype: torch.dtype) -> None:
    """What autograd keeps, and the hidden states, which are there until the losses are known."""
    config = AutoConfig.for_model(
        "llama",
        vocab_size=64,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_key_value_heads=2,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=NAME, dtype=dtype)
    model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear")).train()
    speed_up_lora(model)
    base = model.get_base_model()
    head = WordHeadModule(config, ["A", "B"], early=True)
    words = list(range(0, 80, 2))
    examples = [Example([1] * 90, [2] * 10, 80, words, [0] * len(words)) for _ in range(9)]
    batch = pack([3] * 50, examples, dtype=dtype)
    totals = []
    for all_states in (False, True):
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, torch.Tensor] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = read_packed(base, batch, all_states=all_states)
            losses = word_losses(head, output.hidden_states, batch) if all_states else {}
        assert len(losses) == all_states * len(head.depths)
        for states in output.hidden_states or ():
            keep(states)
        totals.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
    lengths = [len(example) for example in examples]
    size = dtype.itemsize
    formula = kept_for_head(config, size, len(head.depths), len(batch.words), 50, lengths)
    measured = totals[1] - totals[0]
    # In float32, autograd keeps the states of the layers anyway.
    assert measured <= 1.1 * formula
    if dtype == torch.bfloat16:
        assert formula == pytest.approx(measured, rel=0.15)


def test_the_word_head_is_counted(command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    needs = []

    def counted(*arguments: Any) -> Any:
        needs.append(memory_estimate.memory_need(*arguments))
        return needs[-1]

    monkeypatch.setattr(resource_checks, "memory_need", counted)
    run_ok(*command, "--dry-run")
    causal = max(needs, key=lambda need: need.total)
    needs.clear()
    assert "✓ reading   both ways, " in run_ok(*command, "--dry-run", "--reading", "both")
    both = max(needs, key=lambda need: need.total)
    assert both.adapter - causal.adapter == 5 * (32 + 1) * 4 * 4, "with gradient and two moments"
    assert both.activations > causal.activations


def test_histogram() -> None:
    assert histogram([5]) == ["     5 to 5            1 " + "█" * 40]
    assert histogram([1, 1, 2, 30]) == [
        "     1 to 3            3 " + "█" * 40,
        *(f"{low:>6} to {low + 2:<6}       0" for low in range(4, 28, 3)),
        "    28 to 30           1 " + "█" * 13,
    ]


def test_a_tokenizer_of_another_base_is_refused(
    command: list[Any], tiny: Any, tmp_path: Path
) -> None:
    base = tmp_path / "other"
    shutil.copytree(tiny.folder, base)
    path = base / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["e"] += 1000
    path.write_text(json.dumps(tokenizer))
    result = run(*command, "--base", base, "--dry-run")
    assert result.exit_code == 1
    assert re.search(r"error: the tokenizer yields token 1\d\d\d, but the model has", result.stderr)
