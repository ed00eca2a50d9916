"""Where a comparison is written: to the terminal, as Markdown, as JSON, into a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from ner_edge.errors import missing_extra
from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.domains import (
    domain_names,
    domain_table,
    domains_json,
    domains_markdown,
)
from ner_edge.eval.report.json_report import to_json, write_json
from ner_edge.eval.report.rendering import markdown, print_report, print_table
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

    def check(self, data: Sequence[Path], inputs: Sequence[Path]) -> None:
        """Raise `UsageError` now, before hours of decoding, if a destination for reports on `data`
        cannot be written, or is one of `data` or of the other `inputs`."""
        inputs = [*data, *inputs]
        if self.json == "-" or (self.json is None and self.folder is None):
            check_stdout_is_open()
        if self.json is not None and self.json != "-":
            check_file(f"--json {self.json}", Path(self.json), inputs)
        if self.folder is not None:
            option = f"--report {self.folder}"
            check_folder(option, self.folder)
            try:
                from ner_edge.eval.report.folder import FILES, report_folders
            except ImportError as error:
                raise missing_extra("eval", error) from None
            for folder in {self.folder, *report_folders(self.folder, data)}:
                for name in FILES:
                    check_not_input(option, folder / name, inputs)

    def write(self, comparisons: Sequence[Comparison]) -> None:
        """Write tables to standard output, notes to standard error, the rest to files.

        There is a comparison of the same models for each data file.
        """
        for comparison in comparisons:
            for note in comparison.notes:
                say(f"note: {note}")
        several = len(comparisons) > 1
        if self.json != "-":
            if self.markdown:
                text = domains_markdown(comparisons) if several else markdown(comparisons[0])
                print(printable(text))
            else:
                _print(comparisons, PrintableConsole())
        if self.json is not None:
            write_json(domains_json(comparisons) if several else to_json(*comparisons), self.json)
        if self.folder is not None:
            from ner_edge.eval.report.folder import write_folder

            page = write_folder(comparisons, self.folder)
            say(f"report: {page}")


def _print(comparisons: Sequence[Comparison], console: PrintableConsole) -> None:
    if len(comparisons) == 1:
        print_report(comparisons[0], console)
        return
    for name, comparison in zip(domain_names(comparisons), comparisons, strict=True):
        console.rule(Text(name), align="left")
        print_report(comparison, console)
    console.rule()
    print_table(domain_table(comparisons), console)
