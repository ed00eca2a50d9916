"""`ner-edge export`: merge, quantize and describe a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ner_edge.cli.options import ColumnsOption
from ner_edge.errors import UsageError

if TYPE_CHECKING:
    from ner_edge.export.quantize.collect_imatrix import ImatrixData
    from ner_edge.export.request import ExportRequest
    from ner_edge.gguf.imatrix import Imatrix


def export(
    adapter: Annotated[
        str | None,
        typer.Argument(help="LoRA adapter or merged model: a folder or hub id."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base model (default: the one the adapter names).")
    ] = None,
    quant: Annotated[
        list[str] | None,
        typer.Option(
            "--quant", "-q", help="Quantization type, like q4_k_m (default: q8_0). Repeatable."
        ),
    ] = None,
    recipe: Annotated[
        list[Path] | None, typer.Option(help="TOML file with a type for each tensor. Repeatable.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="Find the recipe with the least loss for this file size, like 80MB. Repeatable."
        ),
    ] = None,
    max_loss: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            help="Find the smallest recipe with at most this KL divergence, in millinats per "
            "decision, like 2. Repeatable.",
        ),
    ] = None,
    imatrix: Annotated[
        Path | None,
        typer.Option(
            help="Training sentences to collect an importance matrix from, or an imatrix GGUF."
        ),
    ] = None,
    columns: ColumnsOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("."),
    name: Annotated[
        str | None, typer.Option(help="Prefix of the file names (default: the adapter's name).")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Task to embed: a name or TOML file (default: the adapter's)."),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Also write a model card.")] = False,
    modelfile: Annotated[
        bool, typer.Option("--modelfile", help="Also write an Ollama Modelfile for each file.")
    ] = False,
    adapter_only: Annotated[
        bool, typer.Option("--adapter-only", help="Write only the adapter, as a GGUF LoRA.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all).")] = None,
) -> None:
    """Merge a LoRA adapter into its base model and write GGUF files.

    Each --quant, --recipe, --size and --max-loss writes one file, with a JSON
    manifest beside it for `ner-edge verify`.
    """
    from ner_edge.export.pipeline import export_model
    from ner_edge.export.quantize.recipe import parse_size, read_recipe
    from ner_edge.export.request import ExportRequest
    from ner_edge.task import load_task
    from ner_edge.terminal.progress import progress_bar

    if adapter_only:
        flags: dict[str, object] = {"--quant": quant, "--recipe": recipe, "--size": size}
        flags |= {"--max-loss": max_loss, "--imatrix": imatrix}
        flags |= {"--card": card, "--modelfile": modelfile}
        _check_adapter_only(adapter, [flag for flag, value in flags.items() if value])
    request = ExportRequest(
        out,
        quant or (),
        name=name or _hub_name(adapter or base),
        task=None if task is None else load_task(task),
        imatrix=_read_imatrix(imatrix, columns),
        recipes=[read_recipe(path) for path in recipe or ()],
        sizes=[parse_size(text) for text in size or ()],
        max_losses=max_loss or (),
        card=card,
        modelfile=modelfile,
        threads=threads,
        inputs=[path for path in (imatrix, *(recipe or ())) if path],
    )
    model = _find_sources(adapter, base)
    if adapter_only:
        print(_export_adapter(model, request))
        return
    with progress_bar("export") as update:
        paths = export_model(
            model.base,
            model.adapter,
            request,
            lambda stage, done, total: update(done, total, label=stage),
        )
    for path in paths:
        print(path)


def _read_imatrix(path: Path | None, columns: str | None) -> "Imatrix | ImatrixData | None":
    from ner_edge.data.formats.columns import parse_columns
    from ner_edge.export.quantize.collect_imatrix import imatrix_or_data

    if path is not None:
        return imatrix_or_data(path, parse_columns(columns))
    if columns is not None:
        raise UsageError("--columns describes the file of --imatrix: give both or neither")
    return None


def _check_adapter_only(adapter: str | None, others: list[str]) -> None:
    if adapter is None:
        raise UsageError("--adapter-only needs an adapter")
    if others:
        raise UsageError(f"--adapter-only cannot be combined with {' or '.join(others)}")


def _export_adapter(model: "_Sources", request: "ExportRequest") -> Path:
    from ner_edge.export.lora_gguf import export_adapter

    if model.adapter is None:
        raise UsageError(f"--adapter-only needs an adapter; {model.base} is a whole model")
    name = request.name or model.adapter.resolve().name
    path = request.folder / f"{name}-lora.gguf"
    return export_adapter(model.base, model.adapter, path, request.task)


class _Sources(NamedTuple):
    """The paths of a base and its adapter, if any."""

    base: Path
    adapter: Path | None


def _hub_name(source: str | None) -> str | None:
    """The name of a model on the hub; its folder in the hub's cache is named by a hash."""
    from ner_edge.models.resolve import is_hub_id

    return source.partition("/")[2] if source and is_hub_id(source) else None


def _find_sources(adapter: str | None, base: str | None) -> _Sources:
    """Find an adapter with its base, a merged model, or a base alone."""
    from ner_edge.models.resolve import base_of, is_adapter, resolve_base, resolve_folder

    if adapter is None:
        if base is None:
            raise UsageError("give an adapter, or --base to export a base model alone")
        return _Sources(resolve_base(base), None)
    folder = resolve_folder(adapter)
    if is_adapter(folder) or not (folder / "config.json").is_file():
        return _Sources(resolve_base(base) if base else base_of(folder), folder)
    if base is None:
        return _Sources(folder, None)  # an adapter has been merged into it
    raise UsageError(f"{adapter}: is a whole model, not an adapter; leave out --base")
