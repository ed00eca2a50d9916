"""`ner-edge train`: fine-tune an adapter."""

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import ColumnsOfFilesOption
from ner_edge.errors import UsageError, missing_extra
from ner_edge.files.inputs import distinct_names
from ner_edge.terminal.streams import check_stdout_is_open, printable

if TYPE_CHECKING:
    from ner_edge.train.check import Check


class ReadingName(StrEnum):
    causal = "causal"
    both = "both"


_FURTHER = "Options for training an adapter further"

DataArgument = Annotated[
    list[str],
    typer.Argument(
        help="Labelled data in any format. With FILE:WEIGHT, each epoch has WEIGHT times as many "
        "of its sentences.",
    ),
]
BaseOption = Annotated[
    str, typer.Option(help="Base model: hub id, folder, GGUF, smollm2 or qwen-coder-0.5b.")
]
TaskOption = Annotated[
    str, typer.Option(help="Labels and instruction: a built-in task or a TOML file.")
]
DevOption = Annotated[
    list[Path] | None,
    typer.Option(help="Labelled data to measure F1 on at the end; repeatable."),
]
AttributionOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Credit that a data file's licence requires, kept with the adapter and shown in the "
        "model card; repeatable.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder to write the adapter to.")]
PresetOption = Annotated[
    str, typer.Option(help="Settings to start from: edge (up to 1B) or paper (7B).")
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="TOML file with settings that override the preset.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override one setting, for example --set epochs=3; repeatable.",
    ),
]
ReadingOption = Annotated[
    ReadingName | None,
    typer.Option(
        help="causal: left to right, like the base; both: in both directions, with a word head "
        "(default: as --from was trained, else causal)."
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Check the data, estimate memory, disk and time, then stop."),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", help="Continue from the last checkpoint in --out.", rich_help_panel=_FURTHER
    ),
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="ADAPTER",
        help="Start from the adapter in this folder instead of a new one.",
        rich_help_panel=_FURTHER,
    ),
]
RecoverOption = Annotated[
    str | None,
    typer.Option(
        metavar="GGUF",
        help="Compensate for the quantization error of this file, exported from --from.",
        rich_help_panel=_FURTHER,
    ),
]
ImatrixOption = Annotated[
    Path | None,
    typer.Option(
        help="Importance matrix that the --recover file was quantized with.",
        rich_help_panel=_FURTHER,
    ),
]


def train(
    data: DataArgument,
    base: BaseOption = "smollm2",
    task: TaskOption = "conll2003",
    dev: DevOption = None,
    columns: ColumnsOfFilesOption = None,
    attribution: AttributionOption = None,
    out: OutOption = Path("adapter"),
    preset: PresetOption = "edge",
    config: ConfigOption = None,
    assignments: SetOption = None,
    reading: ReadingOption = None,
    dry_run: DryRunOption = False,
    resume: ResumeOption = False,
    start: FromOption = None,
    recover: RecoverOption = None,
    imatrix: ImatrixOption = None,
) -> None:
    """Fine-tune a LoRA adapter on labelled sentences.

    \b
    Settings for --set and for the --config file:
      rank, alpha              LoRA rank and alpha
      epochs                   passes over the data
      batch_size               sentences per optimizer step
      max_tokens               tokens per packed sequence
      learning_rate            peak learning rate
      warmup_ratio             share of steps with a rising learning rate
      weight_decay             weight decay of AdamW
      max_grad_norm            gradient clipping
      lowercase                share of sentences added in lower case
      uppercase                share added in upper case
      unpunctuated             share added without punctuation
      noise                    share added with misspelt words
      swap_names               share added with other names of the same labels
      passages                 share of the text that is read in passages
      reading                  causal or both, like --reading
      causal_share             share of sentences read causally with reading=both
      word_loss                weight of the word head's loss
      early_loss               weight of the heads after earlier layers
      word_rate                learning rate of the heads, relative to learning_rate
      seed                     random seed
      dtype                    data type of the base: auto, bfloat16 or float32
      gradient_checkpointing   use less memory for a third more work
      shard                    split the base among torchrun processes
      checkpoint_every         steps between checkpoints
      keep_best                keep the checkpoint with the best mean F1 on --dev
      dev_sentences            sentences of each --dev file that keep_best measures
      round_every              steps between roundings with --recover
    """
    from ner_edge.builtin import resolve_model
    from ner_edge.data.formats.columns import columns_of
    from ner_edge.task import load_task, task_files
    from ner_edge.terminal.progress import progress_bar
    from ner_edge.train.data import DataFile, parse_data_file
    from ner_edge.train.settings import parse_assignments, resolve_settings

    if dry_run:
        check_stdout_is_open()
    if recover and start is None:
        raise UsageError("--recover needs --from, the adapter that the file was exported from")
    if imatrix and recover is None:
        raise UsageError("--imatrix needs --recover, the file that was quantized with it")
    chosen_task = load_task(task)
    flags = parse_assignments(assignments or [])
    if reading is not None:
        flags["reading"] = reading.value
    settings = resolve_settings(preset, config, flags, start)
    files = [*map(parse_data_file, data), *map(DataFile, dev or [])]
    chosen = columns_of([file.path for file in files], columns or [])
    files = [replace(file, columns=found) for file, found in zip(files, chosen, strict=True)]
    try:
        from ner_edge.train.processes import is_main_process
        from ner_edge.train.run import run_training
        from ner_edge.train.start import Recovery
    except ImportError as error:
        raise missing_extra("train", error) from None
    is_main = is_main_process()
    checklist = _Checklist(is_main, dry_run)
    with progress_bar("training", hidden=not is_main) as update:
        scores = run_training(
            base,
            files[: len(data)],
            files[len(data) :],
            out,
            chosen_task,
            settings,
            start=start,
            attribution=attribution or [],
            recovery=Recovery(resolve_model(recover), imatrix) if recover else None,
            resume=resume,
            dry_run=dry_run,
            say=checklist,
            update=update,
            other_inputs=[*([config] if config else []), *task_files(task)],
        )
    if dry_run:
        raise typer.Exit(0 if checklist.passed else 1)
    if is_main:
        print(out)
    if scores:
        _print_scores([file.path for file in files[len(data) :]], scores, settings.reading)


def _print_scores(dev: "list[Path]", scores: list[float], reading: str) -> None:
    by_head = " (word head)" * (reading == "both")
    if len(scores) == 1:
        print(f"dev strict micro F1 {scores[0]:.2f}{by_head}")
        return
    title = f"dev strict micro F1{by_head}"
    names = [*distinct_names(dev), "mean"]
    width = max(map(len, (title, *names)))
    print(title)
    for name, score in zip(names, [*scores, mean(scores)], strict=True):
        print(f"{printable(name, keep=''):<{width}}  {score:6.2f}")


class _Checklist:
    """Prints the checks of the preflight, and remembers whether all of them passed."""

    def __init__(self, is_main: bool, dry_run: bool) -> None:
        self.passed = True
        self._is_main = is_main
        self._dry_run = dry_run

    def __call__(self, check: "Check") -> None:
        self.passed &= check.ok
        if self._is_main:
            details = check.details if self._dry_run else ()
            lines = [str(check), *(f"  {line}" for line in details)]
            stream = sys.stdout if self._dry_run else sys.stderr
            print(*(printable(line, keep="") for line in lines), sep="\n", file=stream, flush=True)
