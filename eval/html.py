"""The report as a folder: one self-contained HTML page, plots, Markdown and JSON."""

import base64
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from ner_edge.atomic import atomic_path, make_folder
from ner_edge.eval.compare import Comparison
from ner_edge.eval.confusion import NONE, confusion
from ner_edge.eval.evaluate import ModelResult
from ner_edge.eval.plots import plots, png, svg
from ner_edge.eval.report import footnotes, markdown, model_tables, summaries, write_json
from ner_edge.spans import Span

_SHOWN_FLIPS = 100


class Piece(NamedTuple):
    """Words of a sentence, and their entity's label or an empty string."""

    text: str
    label: str


def write_folder(comparison: Comparison, folder: Path) -> Path:
    """Write the whole report into `folder` and return the page's path.

    The page holds the sentences on which models differ: it is as private as the data.
    """
    make_folder(folder)
    for name, draw in plots(comparison).items():
        with atomic_path(folder / f"{name}.png") as path:
            png(draw, path)
    write_json(comparison, str(folder / "report.json"))
    for name, text in (("report.md", markdown(comparison)), ("index.html", page(comparison))):
        with atomic_path(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    return folder / "index.html"


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
        plots={
            name: {theme: _data_uri(svg(draw, theme)) for theme in ("light", "dark")}
            for name, draw in plots(comparison).items()
        },
        models=[
            {
                "name": result.name,
                "tables": model_tables(result),
                "confusion": _confusion_rows(comparison, result),
                "flips": list(_flips(comparison, reference, result)) if reference else [],
            }
            for result in comparison.results
        ],
        baseline=comparison.baseline,
        shown_flips=_SHOWN_FLIPS,
    )


def _data_uri(image: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(image.encode()).decode()


def _confusion_rows(comparison: Comparison, result: ModelResult) -> list[list[str]]:
    """A header and one row for each gold label."""
    found = confusion(comparison.gold.spans, result.predictions)
    rows = [["gold \\ found", *found.labels]]
    for gold in found.labels:
        cells = []
        for label in found.labels:
            exact, shifted = found.exact[gold, label], found.shifted[gold, label]
            blank = gold == label == NONE
            cells.append("" if blank else f"{exact} + {shifted}" if shifted else str(exact))
        rows.append([gold, *cells])
    return rows


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
                "gold": pieces(sentence.words, sentence.spans),
                reference.name: pieces(sentence.words, before),
                result.name: pieces(sentence.words, after),
            },
        }


def pieces(words: Sequence[str], spans: Sequence[Span]) -> list[Piece]:
    """The sentence cut at its entities."""
    cut = []
    position = 0
    for start, end, label in sorted(spans):
        if position < start:
            cut.append(Piece(" ".join(words[position:start]), ""))
        cut.append(Piece(" ".join(words[start:end]), label))
        position = end
    if position < len(words):
        cut.append(Piece(" ".join(words[position:]), ""))
    return cut
