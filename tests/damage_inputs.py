"""Make small undamaged inputs of every kind, for the fuzzer of files to damage."""

import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

TASK = """\
name = "tiny"
instruction = "Find entities."
template = "alpaca"

[labels]
PER = "person"
LOC = "location"
"""
SETTINGS = """\
# as for a run of our own
rank = 4
alpha = 8
epochs = 1.0
learning_rate = 1e-3
batch_size = 4
dtype = "float32"
gradient_checkpointing = false
checkpoint_every = 1
"""
RECIPE = """\
name = "mixed"
predicted_kl_millinats = 1.5

[types]
"blk.0.attn_q.weight" = "q8_0"
"blk.1.ffn_up.weight" = "q4_0"
"token_embd.weight" = "f16"
"""
DATA = "".join(
    f"{name} B-PER\nlives O\nin O\n{place} B-LOC\n. O\n\n"
    for name in ("Zoe", "Ada", "Kim")
    for place in ("Oslo", "Rome")
)
SCORES = '{"strict_micro": {"f1": 91.5, "precision": 90.0, "recall": 93.0}}\n'
TEXT = "Ada Lovelace lived in London. Zoe did not.\n"


def make_inputs(folder: Path) -> None:
    """Write a base in one file and one in parts, an adapter trained on it, the files exported from
    both, and the files that a user writes by hand."""
    from tiny_models import save_model

    os.chdir(folder)  # so that no file names the folder
    folder = Path()
    for name, text in {
        "task.toml": TASK,
        "settings.toml": SETTINGS,
        "recipe.toml": RECIPE,
        "data.conll": DATA,
        "text.txt": TEXT,
    }.items():
        (folder / name).write_text(text)
    size: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_position_embeddings": 2048,
    }
    save_model(folder / "base", **size)
    save_model(folder / "parts", max_shard_size="50KB", **size)
    sources = "data.conll --base base --task task.toml"
    _command(f"train {sources} -o adapter --config settings.toml")
    (folder / "adapter" / "ner_edge_calibration.json").write_text('{"temperature": 1.5}\n')
    (folder / "adapter" / "scores.json").write_text(SCORES)
    _interrupt_training(folder)
    export = "export adapter --base base --name model --threads 1"
    _command(f"{export} -q f16")
    (folder / "model-f16.gguf").rename(folder / "model.gguf")
    manifest = (folder / "model-f16.json").read_text()
    (folder / "model-f16.json").unlink()
    (folder / "model.json").write_text(manifest.replace("model-f16.gguf", "model.gguf"))
    _write_imatrix(folder)
    _command(f"{export} -q q4_0 --imatrix imatrix.gguf")
    (folder / "model-q4_0.gguf").rename(folder / "small.gguf")
    (folder / "model-q4_0.json").unlink()
    _command(f"{export} --adapter-only")
    (folder / "model-lora.gguf").rename(folder / "lora.gguf")


def _command(line: str) -> None:
    """Run a command; raise an error with its output if it fails."""
    from ner_edge.cli.app import main

    output = TextIOWrapper(BytesIO(), "utf-8")
    try:
        with redirect_stdout(output), redirect_stderr(output):
            main(line.split())
    except SystemExit as end:
        if end.code:
            output.seek(0)
            raise RuntimeError(f"ner-edge {line}: {output.read()}") from None


def _write_imatrix(folder: Path) -> None:
    from ner_edge.export.quantize.collect_imatrix import (
        ImatrixData,
        collect_imatrix,
        imatrix_or_data,
    )
    from ner_edge.task import Task

    data = imatrix_or_data(folder / "data.conll")
    assert isinstance(data, ImatrixData)
    task = Task.from_toml(folder / "task.toml")
    collect_imatrix(folder / "model.gguf", task, data, threads=1).save(folder / "imatrix.gguf")


def _interrupt_training(folder: Path) -> None:
    """Train until there is a checkpoint in `run`, then stop."""
    from ner_edge.task import Task
    from ner_edge.train.data import DataFile
    from ner_edge.train.run import run_training
    from ner_edge.train.settings import resolve_settings

    def interrupt(*_: object, **__: object) -> None:
        if (folder / "run" / "checkpoint.pt").exists():
            raise KeyboardInterrupt

    settings = resolve_settings("edge", folder / "settings.toml")
    task = Task.from_toml(folder / "task.toml")
    with suppress(KeyboardInterrupt):
        run_training(
            "base",
            [DataFile(folder / "data.conll")],
            [],
            folder / "run",
            task,
            settings,
            update=interrupt,
        )


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    make_inputs(target)
