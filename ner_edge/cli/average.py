"""`ner-edge average`: make one adapter of several."""

from pathlib import Path
from typing import Annotated

import typer

from ner_edge.errors import missing_extra
from ner_edge.terminal.streams import say


def average(
    adapters: Annotated[
        list[Path], typer.Argument(help="Folders of two or more adapters for the same base.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the averaged adapter.")],
    rank: Annotated[
        int | None, typer.Option(help="LoRA rank of the result (default: that of the first).")
    ] = None,
) -> None:
    """Average LoRA adapters trained for the same base and task.

    The mean of runs with different seeds or data is often better than any of them.
    """
    try:
        from ner_edge.train.average import average_adapters
    except ImportError as error:
        raise missing_extra("train", error) from None
    kept = average_adapters(adapters, out, rank)
    say(f"kept {100 * kept:.1f} % of the exact mean")
    print(out)
