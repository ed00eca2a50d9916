"""`ner-edge restore`: put the names back into redacted texts."""

from pathlib import Path
from typing import Annotated

import typer

from ner_edge.data.texts import STDIN
from ner_edge.terminal.streams import check_stdin_is_open, check_stdout_is_open, say


def restore(
    source: Annotated[Path, typer.Argument(help="A redacted file or folder; - is stdin.")] = STDIN,
    *,
    key: Annotated[Path, typer.Option(help="The key that `redact` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The restored file (default: stdout) or folder."),
    ] = None,
    trust_key: Annotated[
        bool, typer.Option(help="Also restore texts that resemble none of the key's texts.")
    ] = False,
) -> None:
    """Put the names back into redacted texts.

    An unedited text becomes the original, byte for byte. In an edited one, placeholders may have
    been moved, repeated or removed; doubtful cases are reported.
    """
    from ner_edge.folders.restore import RestoreJob
    from ner_edge.terminal.counts import counted
    from ner_edge.terminal.progress import progress_bar

    if out in (None, STDIN):
        check_stdout_is_open()
    if source == STDIN:
        check_stdin_is_open()
    job = RestoreJob(source, out, key)
    with progress_bar("restoring", len(job.files) or None) as update:
        exact, edited = job.run(update, trust=trust_key)
    say(f"{counted(exact, 'file')} restored exactly, {counted(edited, 'edited file')}")
    job.left_out.check()
