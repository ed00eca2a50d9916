"""Progress bars on standard error, and only on a terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Update(Protocol):
    """Report progress: units done, of how many if that changed, and a short remark."""

    def __call__(
        self, done: float, total: float | None = None, *, label: str | None = None, note: str = ""
    ) -> None: ...


@contextmanager
def progress_bar(
    label: str, total: float | None = None, *, hidden: bool = False
) -> Iterator[Update]:
    """A bar that shows `label`, a percentage, a remark and the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    is_main = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = console.is_terminal and is_main and not hidden
    # rich would send what goes to standard output to the bar's console, which is standard error.
    with Progress(*columns, console=console, disable=not shown, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total, note="")

        def update(
            done: float, total: float | None = None, *, label: str | None = None, note: str = ""
        ) -> None:
            bar.update(task, completed=done, total=total, description=label, note=note)

        yield update
