"""The report as one self-contained HTML page."""

import base64
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.confusion import NONE, confusion
from ner_edge.eval.report.domains import domain_names, domain_table
from ner_edge.eval.report.footnotes import footnotes
from ner_edge.eval.report.plots import plots, svg
from ner_edge.eval.report.tables import model_tables, summaries
from ner_edge.eval.result import ModelResult
from ner_edge.spans import Span

_MOST_FLIPS = 100  # shown per model


class Piece(NamedTuple):
    """Words of a sentence, and the label of their entity, or an empty string."""

    text: str
    label: str
    wrong: bool = False
    """The entity is not in the gold."""


def page(comparison: Comparison) -> str:
    """Return the page, with styles and plots embedded."""
    reference = next((r for r in comparison.results if r.name == comparison.baseline), None)
    return _template("page.html").render(
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
        most_flips=_MOST_FLIPS,
    )


def overview(comparisons: Sequence[Comparison], folders: Sequence[str]) -> str:
    """Return a page with F1 on each data file, and links to the pages in `folders` beside it."""
    names = domain_names(comparisons)
    links = [f"{folder}/index.html" for folder in folders]
    counts = [comparison.gold.describe() for comparison in comparisons]
    return _template("overview.html").render(
        table=domain_table(comparisons), data=list(zip(names, links, counts, strict=True))
    )


def _template(name: str) -> Template:
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _read(name: str) -> str:
    return files("ner_edge.eval.report").joinpath(name).read_text(encoding="utf-8")


def _data_uri(image: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(image.encode()).decode()


def _flips(
    comparison: Comparison, reference: ModelResult, result: ModelResult
) -> Iterator[dict[str, Any]]:
    """Yield the first sentences whose entities differ from the baseline's, in three readings."""
    shown = 0
    for number, sentence in enumerate(comparison.gold.sentences):
        before, after = reference.predictions[number], result.predictions[number]
        if set(before) == set(after) or shown == _MOST_FLIPS:
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
    """Split the sentence at its entities."""
    found = []
    position = 0
    for span in sorted(spans):
        start, end, label = span
        if position < start:
            found.append(Piece(" ".join(words[position:start]), ""))
        found.append(Piece(" ".join(words[start:end]), label, span not in gold))
        position = end
    if position < len(words):
        found.append(Piece(" ".join(words[position:]), ""))
    return found
