"""Progress on standard error: a bar on a terminal, else a line a minute."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ner_edge.terminal.streams import say

_SECONDS_BETWEEN_LINES = 60.0


class Update(Protocol):
    """Report progress: units done, of how many if that changed, and a short remark."""

    def __call__(
        self, done: float, total: float | None = None, *, label: str | None = None, note: str = ""
    ) -> None: ...


@contextmanager
def progress_bar(
    label: str, total: float | None = None, *, hidden: bool = False
) -> Iterator[Update]:
    """Show `label`, a percentage, a remark and the time left: as a bar on a terminal, else as a
    line every minute; nothing if `hidden`.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from ner_edge.terminal.console import PrintableConsole

    console = PrintableConsole(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = console.is_terminal and not hidden
    logged = not console.is_terminal and not hidden
    last_line = time.monotonic()
    # rich would send what goes to standard output to the bar's console, which is standard error.
    with Progress(*columns, console=console, disable=not shown, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total, note="")

        def update(
            done: float, total: float | None = None, *, label: str | None = None, note: str = ""
        ) -> None:
            nonlocal last_line
            bar.update(task, completed=done, total=total, description=label, note=note)
            if logged and time.monotonic() - last_line >= _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                say(_line(bar.tasks[0]))

        yield update


def _line(task: Any) -> str:
    """`training: 12%, loss 0.0312, 1:02:03 left`."""
    from rich.progress import TimeRemainingColumn

    percent = f"{task.percentage:.0f}%" if task.total else ""
    left = f"{TimeRemainingColumn().render(task).plain} left" if task.time_remaining else ""
    known = [part for part in (percent, task.fields["note"], left) if part]
    return f"{task.description}: {', '.join(known) or 'at work'}"
