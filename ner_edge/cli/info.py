"""`ner-edge info`: the metadata of a model file."""

from typing import Annotated

import typer

from ner_edge.terminal.streams import check_stdout_is_open, printable


def info(
    model: Annotated[str, typer.Argument(help="A GGUF file, or conll2003-135m[:quant].")],
) -> None:
    """Show the metadata of a model file: task, quantization, tensor types, provenance."""
    from ner_edge.builtin import resolve_model
    from ner_edge.gguf.metadata import describe

    check_stdout_is_open()
    for name, value in describe(resolve_model(model)).rows():
        print(f"{name + ':':<15}{printable(value, keep='')}")
