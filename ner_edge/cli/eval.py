"""The command that measures models on gold data."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ner_edge.cli.options import (
    BaselineOption,
    ColumnsOption,
    DecoderName,
    DecoderOption,
    GpuOption,
    JsonOption,
    MarkdownOption,
    ReportOption,
    ThreadsOption,
)
from ner_edge.errors import UsageError, missing_extra
from ner_edge.terminal.streams import say

if TYPE_CHECKING:
    from ner_edge.data.readers.columns import Columns
    from ner_edge.eval.compare import Comparison
    from ner_edge.eval.evaluate import Candidate


class ProtocolName(StrEnum):
    edge = "edge"
    paper = "paper"


def evaluate(
    data: Annotated[Path, typer.Argument(help="Gold: CoNLL columns, or JSON.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A GGUF, or conll2003-135m[:quant]; repeat.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    baseline: BaselineOption = None,
    protocol: Annotated[
        ProtocolName,
        typer.Option(help="paper: the published one, unconstrained bf16 in torch, beside models."),
    ] = ProtocolName.edge,
    adapter: Annotated[
        str | None, typer.Option(help="paper: a folder or hub id (the default model's).")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="paper: the adapter's base (as the adapter says).")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="paper: NAME[:TEMPLATE] or a TOML file (the adapter's task).")
    ] = None,
    markdown: MarkdownOption = False,
    json: JsonOption = None,
    report_folder: ReportOption = None,
    save_temperature: Annotated[
        Path | None,
        typer.Option(help="Adapter folder: fit a score temperature on DATA and save it there."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N sentences.")] = None,
    decoder: DecoderOption = DecoderName.copy,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
    speed: Annotated[
        bool, typer.Option(help="Measure peak memory and prompt tokens/s of each model too.")
    ] = True,
    cache: Annotated[
        bool, typer.Option(help="Keep predictions, so that a killed run resumes.")
    ] = True,
) -> None:
    """Measure models on gold data: F1, what each loses to the baseline, size and speed."""
    from ner_edge.data.readers.columns import parse_columns
    from ner_edge.eval.output import Output
    from ner_edge.task import task_files

    chosen = parse_columns(columns)
    output = Output(markdown, json, report_folder)
    named = [*(model or []), *filter(None, (adapter, base))]
    output.check([data, *map(Path, named), *task_files(task)])
    first: list[Candidate] = []
    if protocol == ProtocolName.paper:
        first.append(_paper_candidate(adapter, base, task, threads))
    elif adapter or base or task:
        raise UsageError("--adapter, --base and --task belong to --protocol paper")
    if save_temperature:
        _check_can_save(save_temperature, model, protocol)
    settings = {"threads": threads, "gpu_layers": gpu_layers}
    comparison = _comparison(
        data,
        model,
        first,
        baseline,
        limit,
        decoder,
        settings,
        columns=chosen,
        speed=speed,
        cache=cache,
    )
    output.write(comparison)
    if save_temperature:
        _save_temperature(comparison, save_temperature)


def _check_can_save(folder: Path, models: list[str] | None, protocol: ProtocolName) -> None:
    from ner_edge.files.targets import check_folder

    if protocol != ProtocolName.edge or (models and len(models) > 1):
        raise UsageError("--save-temperature is about the scores of one model file")
    if not (folder / "adapter_config.json").is_file():
        raise UsageError(f"{folder}: is not an adapter's folder")
    check_folder(f"--save-temperature {folder}", folder)


def _save_temperature(comparison: "Comparison", folder: Path) -> None:
    from ner_edge.gguf.metadata import describe
    from ner_edge.temperature import save_temperature

    (result,) = comparison.results
    assert result.calibration is not None
    temperature = describe(result.path).temperature * result.calibration.temperature
    save_temperature(folder, temperature)
    say(f"temperature {temperature:.2f} saved in {folder}; the next export takes it in")


def _paper_candidate(
    adapter: str | None, base: str | None, task: str | None, threads: int | None
) -> "Candidate":
    try:
        from ner_edge.eval.paper import paper_candidate

        return paper_candidate(adapter, base, task, threads)
    except ImportError as error:
        raise missing_extra("train", error) from None


def _comparison(
    data: Path,
    names: list[str] | None,
    first: "list[Candidate]",
    baseline: str | None,
    limit: int | None,
    decoder: DecoderName,
    settings: dict[str, Any],
    *,
    columns: "Columns | None",
    speed: bool,
    cache: bool,
) -> "Comparison":
    """All models by name, or the default one if nothing is to be measured otherwise."""
    from functools import partial

    from ner_edge.builtin import BUILT_IN, DEFAULT_MODEL, resolve_model
    from ner_edge.eval.agreement import agreement_with
    from ner_edge.eval.compare import run_eval
    from ner_edge.eval.cost import measured_cost
    from ner_edge.files.cache import cache_dir
    from ner_edge.tagger import Tagger
    from ner_edge.terminal.progress import progress_bar

    chosen = names or ([] if first else [f"{DEFAULT_MODEL}:{BUILT_IN[DEFAULT_MODEL].quant}"])
    models = [(_display_name(name), resolve_model(name)) for name in chosen]
    kept = cache_dir() / "predictions" if cache else None
    cost = partial(measured_cost, decoder=decoder.value, **settings, cache_dir=kept)
    with progress_bar("evaluating") as update:
        return run_eval(
            data,
            models,
            load_tagger=lambda path: Tagger.load(path, decoder=decoder.value, **settings),
            first=first,
            baseline=baseline,
            limit=limit,
            columns=columns,
            cache_dir=kept,
            progress=lambda name, done, total: update(done, total, label=name),
            measure=cost if speed else None,
            agree=partial(agreement_with, **settings, cache_dir=kept),
        )


def _display_name(model: str) -> str:
    return Path(model).stem if Path(model).is_file() else model
