"""The report as a folder: one self-contained HTML page, plots, Markdown and JSON."""

import base64
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from ner_edge.eval.compare import Comparison
from ner_edge.eval.confusion import NONE, confusion
from ner_edge.eval.evaluate import ModelResult
from ner_edge.eval.plots import plots, png, svg
from ner_edge.eval.report import footnotes, markdown, model_tables, summaries, write_json
from ner_edge.files.atomic import atomic_path, make_folder, write_text
from ner_edge.spans import Span

FILES = ("report.json", "report.md", "index.html")
"""What a report's folder holds beside its plots."""

_SHOWN_FLIPS = 100


class Piece(NamedTuple):
    """Words of a sentence, their entity's label or an empty string, and whether the gold lacks that
    entity."""

    text: str
    label: str
    wrong: bool = False


def write_folder(comparison: Comparison, folder: Path) -> Path:
    """Write the whole report into `folder` and return the page's path.

    The page holds the sentences on which models differ: it is as private as the data.
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


def page(comparison: Comparison) -> str:
    """The page, with styles and plots inside it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(
        files("ner_edge.eval").joinpath("report.html").read_text(encoding="utf-8")
    )
    reference = next((r for r in comparison.results if r.name == comparison.baseline), None)
    return template.render(
        data=comparison.gold.path.name,
        summaries=summaries(comparison),
        footnotes=footnotes(comparison),
        plots=[
            {"title": plot.title}
            | {theme: _data_uri(svg(plot, theme)) for theme in ("light", "dark")}
            for plot in plots(comparison).values()
        ],
        models=[
            {
                "name": result.name,
                "tables": model_tables(result),
                "confusion": confusion(comparison.gold.spans, result.predictions),
                "flips": list(_flips(comparison, reference, result)) if reference else [],
            }
            for result in comparison.results
        ],
        baseline=comparison.baseline,
        unpaired=NONE,
        shown_flips=_SHOWN_FLIPS,
    )


def _data_uri(image: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(image.encode()).decode()


def _flips(
    comparison: Comparison, reference: ModelResult, result: ModelResult
) -> Iterator[dict[str, Any]]:
    """The first sentences whose entities differ from the baseline's: three readings of each."""
    shown = 0
    for number, sentence in enumerate(comparison.gold.sentences):
        before, after = reference.predictions[number], result.predictions[number]
        if set(before) == set(after) or shown == _SHOWN_FLIPS:
            continue
        shown += 1
        yield {
            "number": number + 1,
            "readings": {
                "gold": pieces(sentence.words, sentence.spans, sentence.spans),
                reference.name: pieces(sentence.words, before, sentence.spans),
                result.name: pieces(sentence.words, after, sentence.spans),
            },
        }


def pieces(words: Sequence[str], spans: Sequence[Span], gold: Sequence[Span]) -> list[Piece]:
    """The sentence cut at its entities."""
    cut = []
    position = 0
    for span in sorted(spans):
        start, end, label = span
        if position < start:
            cut.append(Piece(" ".join(words[position:start]), ""))
        cut.append(Piece(" ".join(words[start:end]), label, span not in gold))
        position = end
    if position < len(words):
        cut.append(Piece(" ".join(words[position:]), ""))
    return cut
