"""The report as a folder: one self-contained HTML page, plots, Markdown and JSON."""

from pathlib import Path

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.html import page
from ner_edge.eval.report.json_report import write_json
from ner_edge.eval.report.plots import plots, png
from ner_edge.eval.report.rendering import markdown
from ner_edge.files.atomic import atomic_path, make_folder, write_text

FILES = ("report.json", "report.md", "index.html")
"""The files in the folder beside the plots."""


def write_folder(comparison: Comparison, folder: Path) -> Path:
    """Write the whole report into `folder` and return the path of the page.

    The page holds the sentences on which models differ: keep it as private as the data.
    """
    make_folder(folder)
    for name, plot in plots(comparison).items():
        with atomic_path(folder / f"{name}.png") as path:
            png(plot, path)
    json, md, html = (folder / name for name in FILES)
    write_json(comparison, str(json))
    write_text(markdown(comparison), str(md))
    write_text(page(comparison), str(html))
    return html
