"""Options that several commands share."""

from typing import Annotated

import typer

ThreadsOption = Annotated[int | None, typer.Option(min=1, help="CPU threads (physical cores).")]
