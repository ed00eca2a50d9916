"""Progress on standard error: a bar on a terminal, else a line per minute."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ner_edge.terminal.streams import say

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

_SECONDS_BETWEEN_LINES = 60.0


class Update(Protocol):
    """Report progress: units done, a changed total, a short note."""

    def __call__(
        self, done: float, total: float | None = None, *, label: str | None = None, note: str = ""
    ) -> None: ...


@contextmanager
def progress_bar(
    label: str, total: float | None = None, *, hidden: bool = False
) -> Iterator[Update]:
    """Show `label`, a percentage, a note and the time left in a bar.

    If standard error is not a terminal, print them in a line every minute. If `hidden`, show
    nothing.
    """
    from rich.progress import Progress

    from ner_edge.terminal.console import PrintableConsole

    console = PrintableConsole(stderr=True)
    shown = console.is_terminal and not hidden
    logged = not console.is_terminal and not hidden
    last_line = time.monotonic()
    # rich would redirect standard output to the bar's console, which is standard error.
    with Progress(*_columns(), console=console, disable=not shown, redirect_stdout=False) as bar:
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


def _columns() -> "list[ProgressColumn]":
    from rich import progress

    return [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[note]}", markup=False),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    ]


def _line(task: Any) -> str:
    """`training: 12%, loss 0.0312, 1:02:03 left`."""
    from rich.progress import TimeRemainingColumn

    percent = f"{task.percentage:.0f}%" if task.total else ""
    left = f"{TimeRemainingColumn().render(task).plain} left" if task.time_remaining else ""
    known = [part for part in (percent, task.fields["note"], left) if part]
    return f"{task.description}: {', '.join(known) or 'at work'}"
