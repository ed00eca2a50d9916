"""Where a comparison goes: to a terminal, as Markdown, as JSON, into a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.errors import missing_extra
from ner_edge.eval import report
from ner_edge.eval.compare import Comparison
from ner_edge.files.targets import check_file, check_folder, check_not_input
from ner_edge.terminal.console import PrintableConsole
from ner_edge.terminal.streams import check_stdout_is_open, printable, say


@dataclass(frozen=True)
class Output:
    """What was asked for. `json` is a path, or `-` for standard output, which then holds nothing
    else; `folder` receives the whole report."""

    markdown: bool
    json: str | None
    folder: Path | None

    def check(self, inputs: Sequence[Path]) -> None:
        """Raise `UsageError` now, rather than after an hour of decoding; none of `inputs` may be
        written to."""
        if self.json == "-" or (self.json is None and self.folder is None):
            check_stdout_is_open()
        if self.json is not None and self.json != "-":
            check_file(f"--json {self.json}", Path(self.json), inputs)
        if self.folder is not None:
            option = f"--report {self.folder}"
            check_folder(option, self.folder)
            try:
                from ner_edge.eval.html import FILES
            except ImportError as error:
                raise missing_extra("eval", error) from None
            for name in FILES:
                check_not_input(option, self.folder / name, inputs)

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
