"""Where a comparison is written: to the terminal, as Markdown, as JSON, into a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.errors import missing_extra
from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.json_report import write_json
from ner_edge.eval.report.rendering import markdown, print_report
from ner_edge.files.targets import check_file, check_folder, check_not_input
from ner_edge.terminal.console import PrintableConsole
from ner_edge.terminal.streams import check_stdout_is_open, printable, say


@dataclass(frozen=True)
class Destinations:
    """The destinations that a command's options name."""

    markdown: bool
    json: str | None
    """A path, or `-` for standard output, which then holds nothing else."""
    folder: Path | None

    def check(self, inputs: Sequence[Path]) -> None:
        """Raise `UsageError` now, before hours of decoding, if a destination cannot be written or
        is one of `inputs`."""
        if self.json == "-" or (self.json is None and self.folder is None):
            check_stdout_is_open()
        if self.json is not None and self.json != "-":
            check_file(f"--json {self.json}", Path(self.json), inputs)
        if self.folder is not None:
            option = f"--report {self.folder}"
            check_folder(option, self.folder)
            try:
                from ner_edge.eval.report.folder import FILES
            except ImportError as error:
                raise missing_extra("eval", error) from None
            for name in FILES:
                check_not_input(option, self.folder / name, inputs)

    def write(self, comparison: Comparison) -> None:
        """Write tables to standard output, notes to standard error, the rest to files."""
        for note in comparison.notes:
            say(f"note: {note}")
        if self.json != "-":
            if self.markdown:
                print(printable(markdown(comparison)))
            else:
                print_report(comparison, PrintableConsole())
        if self.json is not None:
            write_json(comparison, self.json)
        if self.folder is not None:
            from ner_edge.eval.report.folder import write_folder

            page = write_folder(comparison, self.folder)
            say(f"report: {page}")
