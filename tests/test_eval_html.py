"""The report folder: complete, self-contained, and safe against markup in the data."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure
from test_eval_report import BF16, GOLD, ONE, Q4, TWO

from ner_edge.data.corpus import Sentence
from ner_edge.eval.confusion import NONE, confusion
from ner_edge.eval.report.folder import write_folder
from ner_edge.eval.report.html import page, pieces
from ner_edge.eval.report.json_report import to_json
from ner_edge.eval.report.plots import plots
from ner_edge.eval.report.rendering import markdown
from ner_edge.eval.report.tables import tables
from ner_edge.spans import Span


def test_confusion_pairs_equal_boundaries_first():
    gold = [[Span(0, 2, "PER"), Span(3, 4, "LOC")], [Span(0, 1, "ORG")], []]
    found = [[Span(1, 2, "LOC"), Span(3, 4, "ORG")], [], [Span(5, 6, "PER")]]
    result = confusion(gold, found)
    assert result.labels == ["LOC", "ORG", "PER", NONE]
    assert result.exact == {("LOC", "ORG"): 1, ("ORG", NONE): 1, (NONE, "PER"): 1}
    assert result.shifted == {("PER", "LOC"): 1}


def test_confusion_counts_every_entity_once():
    found = confusion(GOLD.spans, Q4.predictions)
    pairs = found.exact + found.shifted
    assert sum(n for (gold, _), n in pairs.items() if gold != NONE) == GOLD.entities
    predicted = sum(map(len, Q4.predictions))
    assert sum(n for (_, label), n in pairs.items() if label != NONE) == predicted


def test_pieces_give_the_sentence_back():
    words = ["Ada", "Lovelace", "in", "London"]
    cut = pieces(words, [Span(3, 4, "LOC"), Span(0, 2, "PER")], [Span(0, 2, "PER")])
    assert cut == [("Ada Lovelace", "PER", False), ("in", "", False), ("London", "LOC", True)]
    assert pieces(words, [], []) == [("Ada Lovelace in London", "", False)]
    assert pieces([], [], []) == []


class Checker(HTMLParser):
    """Every tag closed in order, and nothing fetched from elsewhere."""

    VOID = ("meta", "img", "source", "wbr")

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.marks: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        self.is_wrong = ("class", "wrong") in attributes
        for name, value in attributes:
            if name in ("src", "srcset", "href"):
                assert value.startswith("data:image/svg+xml;base64,")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data
        if self.open and self.open[-1] == "mark":
            self.marks.append(data)
            if self.is_wrong:
                self.wrong.append(data)


def test_the_page_holds_every_cell_of_the_tables():
    checked = Checker(page(TWO))
    for _, columns, rows in tables(TWO):
        for cell in (*columns, *(cell for row in rows for cell in row)):
            assert cell in checked.cells
    # Sentences 2, 3 and 4 differ from bf16, which is right everywhere.
    assert checked.marks.count("Brightwater Energy") == 2  # gold and bf16
    assert checked.marks.count("Brightwater") == 1
    assert checked.marks.count("Mina") == 2
    assert "Mina Okafor" not in checked.marks
    assert checked.wrong == ["not in the gold", "Brightwater", "Rain", "Bantu"]


def test_one_model_has_no_flips():
    assert "differ from" not in page(ONE)


def test_markup_in_the_data_is_text():
    nasty = Sentence(["<script>alert(1)</script>", "&amp;", "|"], [Span(0, 1, "PER")])
    gold = replace(GOLD, sentences=[nasty, *GOLD.sentences[1:]])
    text = page(
        replace(
            TWO,
            gold=gold,
            results=[replace(r, name="<b>" + r.name) for r in TWO.results],
            baseline=None,
            differences={},
        )
    )
    assert "<script>" not in text
    assert "<b>" not in text
    text = page(replace(TWO, gold=gold))
    assert "<script>" not in text


def test_the_folder(tmp_path):
    index = write_folder([TWO], tmp_path / "a" / "report")
    names = {
        "f1-size.png",
        "f1-speed.png",
        "index.html",
        "reliability.png",
        "report.json",
        "report.md",
    }
    assert {path.name for path in index.parent.iterdir()} == names
    assert (index.parent / "report.md").read_text() == markdown(TWO)
    assert json.loads((index.parent / "report.json").read_text()) == json.loads(
        json.dumps(to_json(TWO))
    )
    assert (index.parent / "reliability.png").read_bytes().startswith(b"\x89PNG")
    first = index.read_bytes()
    write_folder([TWO], index.parent)
    assert index.read_bytes() == first  # the same comparison, the same page


def drawn(comparison):
    """Each plot's axes."""
    axes = {}
    for name, plot in plots(comparison).items():
        axes[name] = Figure(layout="constrained").add_subplot()
        plot.draw(axes[name])
    return axes


def test_what_is_not_known_is_not_drawn():
    unknown = replace(Q4, size_bytes=None, seconds=None, calibration=None)
    assert plots(replace(ONE, results=[unknown])) == {}
    axes = drawn(replace(TWO, results=[BF16, unknown]))
    assert set(axes) == {"f1-size", "f1-speed", "reliability"}
    assert [text.get_text() for text in axes["f1-size"].texts] == ["bf16"]
    assert [text.get_text() for text in axes["f1-speed"].texts] == ["bf16"]
    assert len(axes["reliability"].get_legend().get_texts()) == 1
    axes = drawn(replace(TWO, results=[replace(BF16, size_bytes=None, seconds=None), unknown]))
    assert set(axes) == {"f1", "reliability"}
    shown = axes["f1"]
    assert [label.get_text() for label in shown.get_yticklabels()] == ["bf16", "q4_k_m"]
    drawn_at = [bars.lines[0].get_xdata()[0] for bars in shown.containers]
    assert drawn_at == [pytest.approx(100), Q4.f1]


def test_every_axis_is_named_and_no_label_covers_another():
    close = [replace(Q4, name=f"m:q{i}", size_bytes=100_000_000 + i) for i in range(6)]
    comparison = replace(TWO, results=close, baseline=None, differences={})
    for name, axes in drawn(comparison).items():
        assert axes.get_xlabel(), name
        assert axes.get_ylabel(), name
        boxes = [text.get_window_extent() for text in axes.texts]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
        assert not any(a.overlaps(b) for a, b in pairs), name


def test_plots_follow_the_theme():
    light, dark = re.findall(r'svg\+xml;base64,([^"]+)', page(TWO))[:2][::-1]
    assert light != dark


@pytest.mark.parametrize("name", ["a:b:q4_0", "plain"])
def test_short_names(name):
    from ner_edge.eval.report.plots import short_name

    assert short_name(name) == name.split(":")[-1]
