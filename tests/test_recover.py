"""Recovery from rounding: training sees what export writes, and makes up for it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import assert_error, run, run_ok
from exporting import export_model
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_models import save_model

from ner_edge.architectures import BY_MODEL_TYPE
from ner_edge.data.labelled import read_labelled
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix, read_imatrix
from ner_edge.gguf.row_order import permute_rows, restore_rows
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.task import Task
from ner_edge.train.batches import Schedule, Share
from ner_edge.train.checkpoint import adapter_weights
from ner_edge.train.data import DataFile
from ner_edge.train.loss import packed_loss
from ner_edge.train.model import save_adapter
from ner_edge.train.packing import pack
from ner_edge.train.recover import Rounding
from ner_edge.train.resource_checks import memory_check
from ner_edge.train.run import run_training
from ner_edge.train.settings import resolve_settings
from ner_edge.train.start import Recovery, open_start

TASK = Task("tiny", {"PER": "person", "LOC": "location"}, "Find entities.")
TOML = """
name = "tiny"
instruction = "Find entities."
[labels]
PER = "person"
LOC = "location"
"""
CONLL = "".join(
    f"{name} I-PER\nlives O\nin O\n{place} I-LOC\n. O\n\n"
    for name in ("Zoe", "Ada", "Hussain", "Kim")
    for place in ("Rome", "England", "Oslo")
)
# Rows of 64 fit q4_0 and q5_0 only, those of 256 the k-quants too.
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "max_position_embeddings": 512,
}
# 12 sentences, 4 in a step, 2 epochs: 6 steps.
SETTINGS = {"rank": 4, "alpha": 8, "batch_size": 4, "epochs": 2, "dtype": "float32"}
FLAGS = [x for key, value in SETTINGS.items() for x in ("--set", f"{key}={value}")]


def random_adapter(folder: Path, base: Path) -> Path:
    """An adapter as train saves it, both of its halves random."""
    start = open_start(str(base), resolve_settings("edge", flags=SETTINGS), None, None)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, weight in start.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    save_adapter(start.model, folder, str(base))
    TASK.save(folder)
    return folder


class Made:
    """A random model, an adapter for it, and the files exported from both."""

    def __init__(self, root, architecture="llama", tied=True, levels=("q3_k_m",)):
        self.root = root
        shape = {**SHAPE, "num_hidden_layers": 2}
        self.base = save_model(root / "base", architecture, tied=tied, **shape)
        self.adapter = random_adapter(root / "adapter", self.base)
        self.files = dict(zip(levels, self.export(root, levels), strict=True))
        (root / "train.conll").write_text(CONLL)
        (root / "tiny.toml").write_text(TOML)

    def export(self, out, levels, adapter=None, **options):
        return export_model(self.base, adapter or self.adapter, out, levels, threads=1, **options)

    def start(self, file, imatrix=None, adapter=None):
        settings = resolve_settings("edge", flags=SETTINGS)
        return open_start(
            str(self.base), settings, adapter or self.adapter, Recovery(file, imatrix)
        )

    def command(self, file, *arguments):
        return [
            *("train", self.root / "train.conll", "--base", self.base, "--from", self.adapter),
            *("--recover", file, "--task", self.root / "tiny.toml", "--out", self.root / "out"),
            *(*FLAGS, *arguments),
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(
        tmp_path_factory.mktemp("recover"), levels=["q3_k_m", "q2_k", "q4_0", "q8_0", "f16"]
    )


def assert_like_the_file(start, file):
    """Matrix for matrix, what is trained on is what the file holds."""
    rounding, model = start.rounding, start.model
    rounding.refresh(model)
    assert len(rounding.modules) == 14, "seven in each of two layers"
    base = model.get_base_model()
    for module in rounding.modules:
        np.testing.assert_array_equal(rounding.rounded(model, module), rounding.in_file(module))
        layer = base.get_submodule(module)
        torch.testing.assert_close(
            layer.get_base_layer().weight + layer.get_delta_weight("default"),
            torch.from_numpy(rounding.in_file(module)),
            rtol=0,
            atol=1e-6,
        )
    tensors = GGUFFile(file).tensors
    names = {
        f"{BY_MODEL_TYPE[base.config.model_type].tensor(module)}.weight"
        for module in rounding.modules
    }
    others = {name for name, info in tensors.items() if len(info.shape) == 2} - names
    for name in others:
        module = {"token_embd.weight": "model.embed_tokens", "output.weight": "lm_head"}[name]
        trained_on = base.get_submodule(module).weight.detach().numpy()
        np.testing.assert_array_equal(trained_on, rounding.in_file(module))


@pytest.mark.parametrize("level", ["q3_k_m", "q2_k", "q4_0"])
def test_what_is_trained_on_is_what_export_writes(level, made):
    file = made.files[level]
    assert len({info.type for info in GGUFFile(file).tensors.values()}) > 2
    assert_like_the_file(made.start(file), file)


def test_also_in_an_architecture_with_norms_after_blocks(tmp_path):
    gemma = Made(tmp_path, "gemma3_text")
    assert_like_the_file(gemma.start(gemma.files["q3_k_m"]), gemma.files["q3_k_m"])


def test_also_in_another_architecture_with_a_head_of_its_own(tmp_path):
    other = Made(tmp_path, "qwen2", tied=False)
    assert "output.weight" in GGUFFile(other.files["q3_k_m"]).tensors
    assert_like_the_file(other.start(other.files["q3_k_m"]), other.files["q3_k_m"])


@pytest.fixture(scope="module")
def careful(made):
    """A file rounded by an importance matrix, and that."""
    generator = np.random.default_rng(0)
    imatrix = Imatrix(dataset="some.conll")
    for name, info in GGUFFile(made.files["f16"]).tensors.items():
        if len(info.shape) == 2:
            imatrix.add(name, generator.lognormal(size=(3, info.shape[1])).astype(np.float32))
    imatrix.save(made.root / "imatrix.gguf")
    (file,) = made.export(made.root / "careful", ["q3_k_m"], imatrix=imatrix)
    return file, made.root / "imatrix.gguf"


def test_also_by_an_importance_matrix(made, careful):
    file, imatrix = careful
    plain = GGUFFile(made.files["q3_k_m"]).float32("blk.0.ffn_down.weight")
    assert not np.array_equal(plain, GGUFFile(file).float32("blk.0.ffn_down.weight"))
    assert_like_the_file(made.start(file, imatrix), file)
    assert read_imatrix(imatrix).dataset == "some.conll"


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_rows_are_restored(heads, half_width, columns):
    rows = np.arange(heads * 2 * half_width * columns, dtype=np.float32).reshape(-1, columns)
    np.testing.assert_array_equal(restore_rows(permute_rows(rows, heads), heads), rows)


def train(made, out, start, recovery, **changes):
    run_training(
        str(made.base),
        [DataFile(made.root / "train.conll")],
        [],
        out,
        TASK,
        resolve_settings("edge", flags=SETTINGS | changes),
        start=start,
        recovery=recovery,
        update=lambda *_, **__: None,
    )
    return out


def rounded_divergence(made, adapter, file, exact):
    """Of an adapter's rounded model from the adapter `exact` on exact weights, in nats a token."""
    start = made.start(file, adapter=adapter)
    start.rounding.refresh(start.model)
    teacher = made.start(file, adapter=exact).teacher
    encoder = PromptEncoder(start.tokenizer, TASK)
    examples = [encoder.example(s) for s in read_labelled(made.root / "train.conll")]
    with torch.no_grad():
        batch = pack(encoder.prefix, examples, "cpu", torch.float32)
        total = packed_loss(start.model.get_base_model(), batch, teacher)
    return total.item() / len(batch.targets)


def test_recovery_brings_the_rounded_model_back_to_its_answers(made, tmp_path):
    """Far more than the same training that knows nothing of the rounding."""
    tuned = train(made, tmp_path / "tuned", made.adapter, None, epochs=15, learning_rate=0.01)
    (file,) = made.export(tmp_path, ["q2_k"], adapter=tuned)
    before = rounded_divergence(made, tuned, file, tuned)
    after = {}
    for recovery in (None, Recovery(file)):
        adapter = train(made, tmp_path / "on", tuned, recovery, epochs=6)
        after[recovery] = rounded_divergence(made, adapter, file, tuned)
    assert 0 < after[Recovery(file)] < 0.75 * before
    assert after[Recovery(file)] < 0.75 * after[None]


def test_the_target_is_what_the_model_answered_before(made, tmp_path):
    """Rounding changes that little, so there is little loss; the labels are news to it."""
    file = made.files["q4_0"]
    losses = {}
    for recovery in (None, Recovery(file)):
        notes: list[str] = []
        run_training(
            str(made.base),
            [DataFile(made.root / "train.conll")],
            [],
            tmp_path / "out",
            TASK,
            resolve_settings("edge", flags=SETTINGS),
            start=made.adapter,
            recovery=recovery,
            update=lambda *_, note="", seen=notes, **__: seen.append(note),
        )
        losses[recovery] = float(re.match(r"loss (\S+),", notes[0])[1])
    assert 0 < losses[Recovery(file)] < 0.05 * losses[None], losses


def test_the_memory_of_the_teacher_is_counted(made):
    start = made.start(made.files["q2_k"])
    settings = resolve_settings("edge", flags=SETTINGS)
    encoder = PromptEncoder(start.tokenizer, TASK)
    examples = [encoder.example(s) for s in read_labelled(made.root / "train.conll")]

    lengths = [len(example) for example in examples]
    schedule = Schedule(lengths, [Share(len(lengths))], settings.batch_size, 1, 0)

    def said(teacher):
        prefix = len(encoder.prefix)
        text = memory_check(start.model, teacher, prefix, examples, schedule, settings, 1).text
        return float(re.search(r"weights ([\d.]+)", text)[1])

    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(500_000_000, device="meta"))

    assert said(Large()) == pytest.approx(said(None) + 2, abs=0.02)


def test_the_teacher_is_the_model_before_rounding(made):
    start = made.start(made.files["q2_k"])
    plain = open_start(
        str(made.base), resolve_settings("edge", flags=SETTINGS), made.adapter, None
    ).model.get_base_model()
    start.rounding.refresh(start.model)
    taught = dict(plain.named_parameters())
    for name, weight in start.teacher.named_parameters():
        assert torch.equal(weight, taught.pop(name))
    assert not taught


# Resuming


class Killed(Exception):
    pass


def recover(made, out, kill_at=None, resume=False, dev=(), **changes):
    steps = []

    def update(done, total=None, *, label=None, note=""):
        steps.append(done)
        if done == kill_at:
            raise Killed

    flags = SETTINGS | {"checkpoint_every": 2, "round_every": 3, "learning_rate": 0.01} | changes
    run_training(
        str(made.base),
        [DataFile(made.root / "train.conll")],
        dev,
        out,
        TASK,
        resolve_settings("edge", flags=flags),
        start=made.adapter,
        recovery=Recovery(made.files["q3_k_m"]),
        resume=resume,
        update=update,
    )
    return steps


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert recover(made, out) == [1, 2, 3, 4, 5, 6]
    return load_file(out / "adapter_model.safetensors")


@pytest.mark.parametrize("kill_at", [2, 5, 6])
def test_resumed_recovery_ends_like_an_unbroken_one(kill_at, made, whole, tmp_path):
    """Rounded after steps 0 and 3, checkpoints after 2, 4 and 6: between two roundings, too."""
    with pytest.raises(Killed):
        recover(made, tmp_path, kill_at)
    assert recover(made, tmp_path, resume=True) == list(range(kill_at // 2 * 2 + 1, 7))
    broken = load_file(tmp_path / "adapter_model.safetensors")
    assert all(torch.equal(weight, broken[name]) for name, weight in whole.items())


def test_measuring_at_checkpoints_changes_no_recovery(made, whole, tmp_path, monkeypatch):
    """An adapter is measured with weights rounded for itself; then training goes on with those
    rounded before."""
    roundings = []
    create = Rounding.__init__

    def remember(self, *arguments):
        create(self, *arguments)
        roundings.append(self)

    def measure(model, *_):
        for name, weight in adapter_weights(model).items():
            assert torch.equal(roundings[0].adapter[name], weight.half())
        return [next(scores, 0.0)]

    monkeypatch.setattr(Rounding, "__init__", remember)
    monkeypatch.setattr("ner_edge.train.run.dev_scores", measure)
    scores = iter([1.0, 2.0, 3.0])  # after 2, 4 and 6 steps; rounded for training after 0 and 3
    dev = [DataFile(made.root / "train.conll")]
    recover(made, tmp_path, dev=dev, keep_best=True)
    kept = load_file(tmp_path / "adapter_model.safetensors")
    assert all(torch.equal(weight, kept[name]) for name, weight in whole.items())


# The command line


def test_command_line(made, tmp_path):
    dry = run(*made.command(made.files["q3_k_m"], "--dry-run"))
    assert (dry.exit_code, dry.stderr) == (0, "")
    types = r"(\d+ Q\w+, )+\d+ Q\w+"
    expected = rf"✓ rounding  adapter-q3_k_m\.gguf: {types}; .* GB; 7 modules compared, all equal\n"
    assert re.search(expected, dry.stdout), dry.stdout
    assert not (made.root / "out").exists()
    run_ok(*made.command(made.files["q3_k_m"], "--out", tmp_path / "new", "--set", "epochs=0.3"))
    saved = json.loads((tmp_path / "new" / "training_settings.json").read_text())
    assert saved["recover"] == "adapter-q3_k_m.gguf"
    (after,) = made.export(tmp_path, ["q3_k_m"], adapter=tmp_path / "new")
    stored = [
        [i.type for i in GGUFFile(file).tensors.values()] for file in (made.files["q3_k_m"], after)
    ]
    assert stored[0] == stored[1], "of the same size"
    check = run(*made.command(after, "--dry-run")).stdout
    assert "not compared, since it was made with another adapter" in check


def test_mistakes_are_one_line(made, careful, tmp_path):
    q3, (calibrated, imatrix) = made.files["q3_k_m"], careful
    other = Made(tmp_path / "other", tied=False)
    wider = save_model(tmp_path / "wider", **SHAPE | {"intermediate_size": 512})
    (wide,) = export_model(wider, None, tmp_path, ["q3_k_m"], task=TASK, threads=1)
    foreign = tmp_path / "imatrix.gguf"
    Imatrix({"blk.0.ffn_down.weight": np.ones(3)}, {"blk.0.ffn_down.weight": 1}).save(foreign)
    text = tmp_path / "text.gguf"
    text.write_text("no model")
    for file, arguments, message, code in (
        (text, [], "text.gguf: not a GGUF file", 1),
        ("none.gguf", [], "none.gguf: no such file", 1),
        (wide, [], r"was not made from this base; 6 of .* fit: blk.0.ffn_gate.weight \(\(512, ", 1),
        (other.files["q3_k_m"], [], r"1 of .* output.weight \(only in the file\)", 1),
        (made.files["f16"], [], "has no low-bit tensors, so there is nothing to recover", 1),
        (made.files["q8_0"], [], "has no low-bit tensors, so there is nothing to recover", 1),
        (calibrated, [], "importance matrix, collected from some.conll; give it with --imatrix", 1),
        (
            calibrated,
            ["--imatrix", foreign],
            "for another model: .* 3 columns for .*, which has 256",
            1,
        ),
        (q3, ["--imatrix", imatrix], "differs from the same weights rounded here", 1),
        (q3, ["--imatrix", q3], "not an importance matrix", 1),
        (q3, ["--set", "round_every=0"], "round_every must be positive", 2),
    ):
        result = run(*made.command(file, *arguments, "--out", tmp_path / "out"))
        assert result.exit_code == code, result.output
        error = [line for line in result.stderr.splitlines() if line[0] not in "✓✗"]
        assert len(error) == 1, result.stderr
        assert re.match(f"error: .*{message}", error[0]), error
    arguments = ["train", made.root / "train.conll", "--base", made.base, *FLAGS]
    assert_error(run(*arguments, "--recover", q3), "--recover needs --from", exit_code=2)
    assert_error(run(*arguments, "--imatrix", imatrix), "--imatrix needs --recover", exit_code=2)
