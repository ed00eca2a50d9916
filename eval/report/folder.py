"""The report as a folder: one self-contained HTML page, plots, Markdown and JSON."""

import re
from collections.abc import Sequence
from pathlib import Path

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.domains import domains_json, domains_markdown
from ner_edge.eval.report.html import overview, page
from ner_edge.eval.report.json_report import to_json, write_json
from ner_edge.eval.report.plots import plots, png
from ner_edge.eval.report.rendering import markdown
from ner_edge.files.atomic import atomic_path, make_folder, write_text

FILES = ("report.json", "report.md", "index.html")
"""The files in the folder beside the plots."""


def report_folders(folder: Path, data: Sequence[Path]) -> list[Path]:
    """Return the folder of the report on each data file: below `folder`, unless there is only
    one."""
    if len(data) == 1:
        return [folder]
    return [
        folder / f"{number}-{re.sub(r'[^A-Za-z0-9._-]', '_', path.name)}"
        for number, path in enumerate(data, 1)
    ]


def write_folder(comparisons: Sequence[Comparison], folder: Path) -> Path:
    """Write the whole report into `folder` and return the path of the page.

    With several data files, that is an overview, which links to a page for each. The pages hold the
    sentences on which models differ: keep them as private as the data.
    """
    folders = report_folders(folder, [comparison.gold.path for comparison in comparisons])
    for comparison, own in zip(comparisons, folders, strict=True):
        _write_one(comparison, own)
    json, md, html = (folder / name for name in FILES)
    if len(comparisons) > 1:
        write_json(domains_json(comparisons), str(json))
        write_text(domains_markdown(comparisons), str(md))
        write_text(overview(comparisons, [own.name for own in folders]), str(html))
    return html


def _write_one(comparison: Comparison, folder: Path) -> None:
    make_folder(folder)
    for name, plot in plots(comparison).items():
        with atomic_path(folder / f"{name}.png") as path:
            png(plot, path)
    json, md, html = (folder / name for name in FILES)
    write_json(to_json(comparison), str(json))
    write_text(markdown(comparison), str(md))
    write_text(page(comparison), str(html))
