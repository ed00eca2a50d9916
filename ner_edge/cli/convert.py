"""`ner-edge convert`: convert labelled data from one format to another."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import ColumnsOption, FormatName, ReadableName
from ner_edge.data.schemes import SCHEMES
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import say

if TYPE_CHECKING:
    from ner_edge.data.convert import Converted
    from ner_edge.data.formats.format import Format

    SchemeName = str
else:  # typer offers the members of an enumeration as choices
    SchemeName = StrEnum("SchemeName", {name: name for name in SCHEMES})


class SeparatorName(StrEnum):
    space = "space"
    tab = "tab"


_SHOWN = 20
"""The most entities and texts left out that are listed."""


def convert(
    source: Annotated[Path, typer.Argument(help="Labelled data in any format.")],
    target: Annotated[Path, typer.Argument(help="The file or folder to write; - is stdout.")],
    source_format: Annotated[
        ReadableName | None,
        typer.Option("--from", help="Format of SOURCE (default: recognized)."),
    ] = None,
    target_format: Annotated[
        FormatName | None, typer.Option("--to", help="Format of TARGET (default: by suffix).")
    ] = None,
    columns: ColumnsOption = None,
    scheme: Annotated[
        SchemeName | None, typer.Option(help="Scheme of CoNLL tags (default: iob2).")
    ] = None,
    separator: Annotated[
        SeparatorName | None,
        typer.Option(help="Separator of CoNLL columns (default: space)."),
    ] = None,
) -> None:
    """Convert labelled data from one format to another, without a model.

    Whatever the target cannot hold is reported, entity by entity or as a count.
    """
    import sys

    from ner_edge.data.convert import convert as run
    from ner_edge.data.formats.columns import parse_columns
    from ner_edge.data.formats.contents import ReadOptions
    from ner_edge.data.formats.table import FORMATS, format_to_write
    from ner_edge.data.save import check_target
    from ner_edge.terminal.streams import check_stdout_is_open

    path = None if str(target) == "-" else target
    to = FORMATS[str(target_format)] if target_format else format_to_write("--to", path)
    to = _with_layout(to, scheme, separator)
    check_target(f"TARGET {target}", path, to, [source])
    if path is None:
        check_stdout_is_open()
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    name = str(source_format) if source_format else None
    converted = run(source, path, to, ReadOptions(parse_columns(columns)), name)
    say(f"{source}: {converted.layout}")
    _report(converted, target)


def _with_layout(
    format: "Format", scheme: SchemeName | None, separator: SeparatorName | None
) -> "Format":
    """Return the format with the layout of CoNLL columns that was asked for."""
    from functools import partial

    from ner_edge.data.formats.conll import write_conll

    if scheme is None and separator is None:
        return format
    if format.name != "conll":
        raise UsageError(f"--scheme and --separator are for conll, not {format.name}")
    chosen = str(scheme or next(iter(SCHEMES)))
    between = "\t" if separator is SeparatorName.tab else " "
    return replace(format, write=partial(write_conll, scheme=chosen, separator=between))


def _report(converted: "Converted", target: Path) -> None:
    from ner_edge.terminal.counts import counted

    contents = converted.contents
    for line, message in contents.doubtful[:_SHOWN]:
        say(f"warning: line {line}: {message}")
    left_out = converted.left_out
    for line, message in left_out[:_SHOWN]:
        say(f"left out: line {line}: {message}")
    if len(left_out) > _SHOWN:
        say(f"left out: {len(left_out) - _SHOWN:,} more")
    for what, texts in sorted(converted.losses.unkept.items()):
        if texts:
            say(f"not kept: {what} ({texts:,})")
    if contents.ignored:
        say(f"not read: {', '.join(sorted(contents.ignored))}")
    counts = f"{counted(converted.texts, 'text')}, {counted(converted.entities, 'entity')}"
    say(f"{target}: {counts}")
