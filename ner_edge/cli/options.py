"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DecoderName(StrEnum):
    copy = "copy"
    grammar = "grammar"


ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A GGUF, or conll2003-135m[:quant]."),
]
DecoderOption = Annotated[
    DecoderName,
    typer.Option(help="copy: the fast decoder; grammar: llama.cpp's own grammar sampler."),
]
GpuOption = Annotated[
    int | None, typer.Option(min=0, help="Layers on the GPU (all, if llama.cpp has one).")
]
BaselineOption = Annotated[
    str | None, typer.Option(help="Compare with this one of them (the first).")
]
MarkdownOption = Annotated[bool, typer.Option(help="Print Markdown tables.")]
JsonOption = Annotated[str | None, typer.Option(help="Write JSON to this path; - is stdout.")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write a report into this folder (HTML, plots).")
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="CPU threads (physical cores).")]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="WORD,TAG",
        help="The columns of word and tag in CoNLL files, like 1,4.",
    ),
]
