"""Where a comparison goes: to a terminal, as Markdown, as JSON, into a folder."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ner_edge.console import PrintableConsole
from ner_edge.errors import UsageError, missing_extra
from ner_edge.eval import report
from ner_edge.eval.compare import Comparison
from ner_edge.terminal import check_stdout_is_open, printable, say


@dataclass(frozen=True)
class Output:
    """What was asked for. `json` is a path, or `-` for standard output, which then holds nothing
    else; `folder` receives the whole report."""

    markdown: bool
    json: str | None
    folder: Path | None

    def check(self) -> None:
        """Raise `UsageError` now, rather than after an hour of decoding."""
        if self.json == "-" or (self.json is None and self.folder is None):
            check_stdout_is_open()
        if self.json is not None and self.json != "-":
            _check_writable(f"--json {self.json}", Path(self.json).parent)
            if Path(self.json).is_dir():
                raise UsageError(f"--json {self.json}: is a folder")
        if self.folder is not None:
            there = (path for path in (self.folder, *self.folder.parents) if path.exists())
            _check_writable(f"--report {self.folder}", next(there))
            try:
                import ner_edge.eval.html  # noqa: F401
            except ImportError as error:
                raise missing_extra("eval", error) from None

    def write(self, comparison: Comparison) -> None:
        """Tables to standard output, notes to standard error, the rest into its files."""
        for note in comparison.notes:
            say(f"note: {note}")
        if self.json != "-":
            if self.markdown:
                print(printable(report.markdown(comparison)))
            else:
                report.print_report(comparison, PrintableConsole())
        if self.json is not None:
            report.write_json(comparison, self.json)
        if self.folder is not None:
            from ner_edge.eval.html import write_folder

            page = write_folder(comparison, self.folder)
            say(f"report: {page}")


def _check_writable(option: str, folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{option}: {folder}: {'is no' if folder.exists() else 'no such'} folder")
    try:
        with TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{option}: {folder}: cannot be written ({error.strerror})") from None
