"""Options shared by several commands."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.data.formats.table import FORMATS

if TYPE_CHECKING:
    FormatName = str
    ReadableName = str
else:  # typer offers the members of an enumeration as choices
    FormatName = StrEnum("FormatName", {name: name for name in FORMATS})
    ReadableName = StrEnum("ReadableName", {n: n for n, format in FORMATS.items() if format.read})


def finite(value: float | None) -> float | None:
    """Return an option's value. Raises typer's usage error for `nan` and `inf`, which `min` and
    `max` let through."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


class DecoderName(StrEnum):
    auto = "auto"
    read = "read"
    copy = "copy"
    grammar = "grammar"


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A GGUF file, or conll2003-135m[:quant] (default: the built-in model).",
    ),
]
DecoderOption = Annotated[
    DecoderName | None,
    typer.Option(
        help="read: tag words while reading; copy: write the sentence with brackets; auto: write "
        "it up to the last word in doubt after reading; grammar: like copy, by llama.cpp's own "
        "sampler. (default: auto, or copy if the model has no word head)"
    ),
]
DepthOption = Annotated[
    int | None,
    typer.Option(min=1, help="Layers to evaluate with --decoder read (default: all)."),
]
GpuOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Layers to run on the GPU (default: all, if llama.cpp was built for one)."
    ),
]
BaselineOption = Annotated[
    str | None, typer.Option(help="The model to compare with (default: the first).")
]
MarkdownOption = Annotated[bool, typer.Option(help="Print Markdown tables.")]
JsonOption = Annotated[str | None, typer.Option(help="Write JSON to this file; - is stdout.")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write a report (HTML, plots) into this folder.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="CPU threads (default: physical cores).")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="WORD,TAG",
        help="Columns of word and tag in CoNLL files, such as 1,4.",
    ),
]
ColumnsOfFilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="[FILE=]WORD,TAG",
        help="Columns of word and tag in CoNLL files, such as 1,4; repeatable, for single files.",
    ),
]
