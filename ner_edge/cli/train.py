"""The command that trains adapters."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ner_edge.cli.options import ColumnsOption
from ner_edge.errors import UsageError, missing_extra
from ner_edge.terminal.streams import check_stdout_is_open, printable

if TYPE_CHECKING:
    from ner_edge.train.preflight import Check
    from ner_edge.train.settings import TrainSettings


def train(
    data: Annotated[Path, typer.Argument(help="Labelled: CoNLL columns, or JSON.")],
    base: Annotated[
        str, typer.Option(help="A hub id, a local folder, a GGUF, smollm2, or qwen-coder-0.5b.")
    ] = "smollm2",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the adapter.")] = Path(
        "adapter"
    ),
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of an adapter to train further.")
    ] = None,
    recover: Annotated[
        str | None,
        typer.Option(help="A GGUF exported from --from: train to make up for its rounding."),
    ] = None,
    imatrix: Annotated[
        Path | None,
        typer.Option(help="The importance matrix that the --recover file was quantized with."),
    ] = None,
    dev: Annotated[Path | None, typer.Option(help="Report F1 on this file at the end.")] = None,
    columns: ColumnsOption = None,
    task: Annotated[str, typer.Option(help="A task's name or TOML file.")] = "conll2003",
    preset: Annotated[str, typer.Option(help="paper or edge.")] = "edge",
    config: Annotated[Path | None, typer.Option(help="TOML with settings.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check data and settings, say what it takes, stop.")
    ] = False,
    rank: Annotated[int | None, typer.Option(help="LoRA rank.")] = None,
    alpha: Annotated[int | None, typer.Option(help="LoRA alpha.")] = None,
    epochs: Annotated[float | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    warmup_ratio: Annotated[float | None, typer.Option()] = None,
    weight_decay: Annotated[float | None, typer.Option()] = None,
    max_grad_norm: Annotated[float | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sentences per step.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per packed sequence.")] = None,
    dtype: Annotated[str | None, typer.Option(help="bfloat16, float32 or auto.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Less memory, a third more work.")
    ] = None,
    shard: Annotated[
        bool | None, typer.Option(help="Under torchrun: share out the base, to save memory.")
    ] = None,
    lowercase: Annotated[
        float | None, typer.Option(help="Share of sentences also trained on in lower case.")
    ] = None,
    round_every: Annotated[
        int | None, typer.Option(help="Steps that one rounding serves, with --recover.")
    ] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps.")] = None,
) -> None:
    """Fine-tune a LoRA adapter on labelled sentences."""
    from ner_edge.builtin import resolve_model
    from ner_edge.data.readers.columns import parse_columns
    from ner_edge.task import load_task, task_files
    from ner_edge.terminal.progress import progress_bar

    chosen_columns = parse_columns(columns)
    if dry_run:
        check_stdout_is_open()
    if recover and start is None:
        raise UsageError("--recover needs --from: the adapter that the file was exported from")
    if imatrix and recover is None:
        raise UsageError("--imatrix needs --recover: it is the matrix that file was quantized with")
    flags = {
        "rank": rank,
        "alpha": alpha,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "warmup_ratio": warmup_ratio,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "batch_size": batch_size,
        "max_tokens": max_tokens,
        "dtype": dtype,
        "seed": seed,
        "gradient_checkpointing": gradient_checkpointing,
        "shard": shard,
        "lowercase": lowercase,
        "round_every": round_every,
        "checkpoint_every": checkpoint_every,
    }
    chosen_task = load_task(task)
    settings = _resolve_settings(preset, config, flags)
    try:
        from ner_edge.train.run import run_training
        from ner_edge.train.start import Recovery
    except ImportError as error:
        raise missing_extra("train", error) from None
    checklist = _Checklist(dry_run)
    with progress_bar("training") as update:
        f1 = run_training(
            base,
            data,
            dev,
            out,
            chosen_task,
            settings,
            columns=chosen_columns,
            start=start,
            recovery=Recovery(resolve_model(recover), imatrix) if recover else None,
            resume=resume,
            dry_run=dry_run,
            say=checklist,
            update=update,
            read=[*([config] if config else []), *task_files(task)],
        )
    if dry_run:
        raise typer.Exit(0 if checklist.passed else 1)
    if checklist.is_main:
        print(out)
    if f1 is not None:
        print(f"dev strict micro F1 {f1:.2f}")


def _resolve_settings(preset: str, config: Path | None, flags: dict[str, Any]) -> "TrainSettings":
    """They need no torch, so that a wrong one is told at once."""
    try:
        from ner_edge.train.settings import resolve_settings
    except ImportError as error:
        raise missing_extra("train", error) from None
    return resolve_settings(preset, config, flags)


class _Checklist:
    """Prints the preflight's checks, and remembers whether all of them passed."""

    def __init__(self, dry_run: bool) -> None:
        self.passed = True
        self.is_main = os.environ.get("RANK", "0") == "0"  # of the processes torchrun started
        self._dry_run = dry_run

    def __call__(self, check: "Check") -> None:
        self.passed &= check.ok
        if self.is_main:
            details = check.details if self._dry_run else ()
            lines = [str(check), *(f"  {line}" for line in details)]
            stream = sys.stdout if self._dry_run else sys.stderr
            print(*(printable(line, keep="") for line in lines), sep="\n", file=stream, flush=True)
