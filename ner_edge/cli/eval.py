"""`ner-edge eval`: evaluate models on gold data."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import (
    BaselineOption,
    ColumnsOfFilesOption,
    DecoderOption,
    DepthOption,
    GpuOption,
    JsonOption,
    MarkdownOption,
    ReportOption,
    ThreadsOption,
)
from ner_edge.errors import UsageError, missing_extra
from ner_edge.terminal.streams import say

if TYPE_CHECKING:
    from ner_edge.eval.candidate import Candidate
    from ner_edge.eval.evaluator import Evaluator
    from ner_edge.eval.gold import Gold


class ProtocolName(StrEnum):
    edge = "edge"
    paper = "paper"


def evaluate(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Labelled data in any format; with several files, F1 on each is added."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A GGUF, or conll2003-135m[:quant]; repeatable."),
    ] = None,
    columns: ColumnsOfFilesOption = None,
    baseline: BaselineOption = None,
    protocol: Annotated[
        ProtocolName,
        typer.Option(help="paper: also run an adapter in torch (bf16), unconstrained."),
    ] = ProtocolName.edge,
    adapter: Annotated[
        str | None,
        typer.Option(help="paper: adapter folder or hub id (default: the default model's)."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="paper: base model (default: the one the adapter names).")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="paper: NAME[:TEMPLATE] or a TOML file (default: the adapter's task)."),
    ] = None,
    markdown: MarkdownOption = False,
    json: JsonOption = None,
    report_folder: ReportOption = None,
    save_calibration: Annotated[
        Path | None,
        typer.Option(
            help="Fit score temperatures and the threshold of auto on DATA, and save them with "
            "this adapter."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only the first N sentences.")
    ] = None,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
    speed: Annotated[
        bool, typer.Option(help="Also measure each model's peak memory and prompt tokens/s.")
    ] = True,
    cache: Annotated[
        bool, typer.Option(help="Keep and reuse predictions, so that an interrupted run resumes.")
    ] = True,
) -> None:
    """Evaluate models on gold data: F1, difference from the baseline, size and speed."""
    from ner_edge.data.formats.columns import columns_of
    from ner_edge.eval.evaluator import Evaluator
    from ner_edge.eval.gold import read_gold
    from ner_edge.eval.report.destinations import Destinations
    from ner_edge.files.cache import cache_dir
    from ner_edge.files.targets import check_given_once
    from ner_edge.task import task_files
    from ner_edge.terminal.progress import progress_bar

    if protocol != ProtocolName.paper and (adapter or base or task):
        raise UsageError("--adapter, --base and --task need --protocol paper")
    check_given_once(data)
    chosen = columns_of(data, columns or [])
    destinations = Destinations(markdown, json, report_folder)
    named = [*(model or []), *filter(None, (adapter, base))]
    destinations.check(data, [*map(Path, named), *task_files(task)])
    if save_calibration:
        _check_can_save(save_calibration, model, protocol)
    golds = [read_gold(path, limit, columns=own) for path, own in zip(data, chosen, strict=True)]
    with progress_bar("evaluating") as update:
        evaluator = Evaluator(
            decoder=decoder.value if decoder else None,
            depth=depth,
            threads=threads,
            gpu_layers=gpu_layers,
            measure_cost=speed,
            cache_dir=cache_dir() / "predictions" if cache else None,
            progress=lambda name, done, total: update(done, total, label=name),
        )
        candidates = []
        if protocol == ProtocolName.paper:
            candidates.append(_paper_candidate(adapter, base, task, threads))
        candidates += _ggufs(evaluator, model, default=not candidates)
        comparisons = [evaluator.compare(candidates, gold, baseline) for gold in golds]
    destinations.write(comparisons)
    if save_calibration:
        (result,) = comparisons[0].results
        _save_calibration(result.path, golds, save_calibration, threads, gpu_layers)


def _paper_candidate(
    adapter: str | None, base: str | None, task: str | None, threads: int | None
) -> "Candidate":
    try:
        from ner_edge.eval.paper import paper_candidate

        return paper_candidate(adapter, base, task, threads)
    except ImportError as error:
        raise missing_extra("train", error) from None


def _ggufs(evaluator: "Evaluator", names: list[str] | None, *, default: bool) -> "list[Candidate]":
    """The models by name; without names, the default model if `default`."""
    from ner_edge.builtin import BUILT_IN, DEFAULT_MODEL, resolve_model

    if not names and default:
        names = [f"{DEFAULT_MODEL}:{BUILT_IN[DEFAULT_MODEL].quant}"]
    return [
        evaluator.gguf(Path(name).stem if Path(name).is_file() else name, resolve_model(name))
        for name in names or []
    ]


def _check_can_save(folder: Path, models: list[str] | None, protocol: ProtocolName) -> None:
    from ner_edge.files.targets import check_folder

    if protocol != ProtocolName.edge or (models and len(models) > 1):
        raise UsageError("--save-calibration needs one model file, and no --protocol paper")
    if not (folder / "adapter_config.json").is_file():
        raise UsageError(f"--save-calibration {folder}: not an adapter folder")
    check_folder(f"--save-calibration {folder}", folder)


def _save_calibration(
    model: Path, golds: "list[Gold]", folder: Path, threads: int | None, gpu_layers: int | None
) -> None:
    from ner_edge.eval.fit import fit_calibration
    from ner_edge.terminal.progress import progress_bar

    with progress_bar("calibrating") as update:
        fitted = fit_calibration(
            model, golds, threads=threads, gpu_layers=gpu_layers, progress=update
        )
    fitted.save(folder)
    values = ", ".join(f"{name} {value:.4g}" for name, value in fitted.changed().items())
    say(f"calibration saved in {folder} ({values}); the next export uses it")
