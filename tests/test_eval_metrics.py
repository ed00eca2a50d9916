"""`score_spans` gives the figures of seqeval and nervaluate, which agree where they must."""

import sys
import warnings
from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.errors import NerEdgeError
from ner_edge.eval.bootstrap import strict_counts
from ner_edge.eval.metrics import SCENARIOS, Score, require_libraries, score_spans
from ner_edge.spans import Span, iob2_from_spans, strict_f1

GOLD = [
    [Span(0, 2, "PER"), Span(4, 5, "LOC")],
    [Span(1, 3, "ORG")],
    [],
    [Span(0, 1, "MISC"), Span(2, 3, "PER")],
]
# Two hits; a boundary, an invention, a wrong label and an omission.
PREDICTED = [
    [Span(0, 2, "PER"), Span(4, 5, "LOC")],
    [Span(1, 2, "ORG")],
    [Span(0, 1, "LOC")],
    [Span(0, 1, "ORG")],
]
LENGTHS = [5, 4, 3, 3]

NONE = (0, 0, 0, 0)


@st.composite
def annotated_sentences(draw):
    """Lengths, and for gold and predictions spans that do not overlap within a sentence."""

    def spans(length):
        cuts = sorted(draw(st.sets(st.integers(0, length), max_size=8)))
        labels = [
            draw(st.sampled_from(["", "PER", "LOC", "B-SIDE", "労"])) for _ in range(len(cuts))
        ]
        return [
            Span(start, end, label)
            for start, end, label in zip(cuts, cuts[1:], labels, strict=False)
            if label
        ]

    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    return [spans(n) for n in lengths], [spans(n) for n in lengths], lengths


def test_all_tables_of_a_small_case():
    metrics = score_spans(GOLD, PREDICTED, LENGTHS)

    assert list(metrics.per_label) == ["LOC", "MISC", "ORG", "PER"]
    for label, expected in {
        "LOC": (50, 100, 200 / 3, 1),
        "MISC": (0, 0, 0, 1),
        "ORG": (0, 0, 0, 1),
        "PER": (100, 50, 200 / 3, 2),
    }.items():
        assert astuple(metrics.per_label[label]) == pytest.approx(expected, abs=1e-12)
    assert astuple(metrics.micro) == pytest.approx((40, 40, 40, 5), abs=1e-12)
    for scenario, percent in {"strict": 40, "exact": 60, "partial": 70, "ent_type": 60}.items():
        expected = (percent, percent, percent, 5)
        assert astuple(metrics.nervaluate[scenario]) == pytest.approx(expected, abs=1e-12)


@given(annotated_sentences())
@settings(max_examples=200, deadline=None)
def test_seqeval_equals_nervaluate_strict(sentences):
    metrics = score_spans(*sentences)
    assert astuple(metrics.micro) == pytest.approx(astuple(metrics.nervaluate["strict"]), abs=1e-12)
    assert metrics.micro.support == sum(map(len, sentences[0]))


@given(annotated_sentences())
@settings(max_examples=50, deadline=None)
def test_figures_are_those_of_seqeval_itself(sentences):
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    gold, predicted, lengths = sentences
    tags = [
        [iob2_from_spans(spans, length) for spans, length in zip(side, lengths, strict=True)]
        for side in (gold, predicted)
    ]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    expected = [100 * score(*tags, **strict) for score in (precision_score, recall_score, f1_score)]
    micro = score_spans(*sentences).micro
    assert [micro.precision, micro.recall, micro.f1] == pytest.approx(expected, abs=1e-12)


def random_corpus(generator, sentences=4):
    """Gold, a prediction that shares about half of it, and lengths."""
    gold, predicted, lengths = [], [], []
    for _ in range(sentences):
        length = int(generator.integers(1, 15))
        sides = []
        cuts = sorted(generator.choice(length + 1, size=min(length + 1, 7), replace=False).tolist())
        shared = [
            Span(start, end, str(generator.choice(["PER", "LOC", "ORG", "MISC", ""])))
            for start, end in pairwise(cuts)
        ]
        for _ in range(2):
            spans = []
            for span in shared:
                chance = generator.random()
                if chance < 0.15:
                    span = span._replace(label=str(generator.choice(["PER", "LOC", "ORG"])))
                elif chance < 0.3:
                    span = span._replace(end=span.start + 1)
                if chance < 0.9 and span.label:
                    spans.append(span)
            sides.append(spans)
        gold.append(sides[0])
        predicted.append(sides[1])
        lengths.append(length)
    return gold, predicted, lengths


def from_counts(counts):
    """Precision, recall and F1 in percent by their definition."""
    hits, wrong, missed = counts.sum(axis=0).tolist()
    return [
        100 * hits / total if total else 0.0
        for hits, total in (
            (hits, hits + wrong),
            (hits, hits + missed),
            (2 * hits, 2 * hits + wrong + missed),
        )
    ]


def test_a_thousand_random_corpora_score_the_same_in_four_ways():
    """Our tables, seqeval, nervaluate, and the counts that the bootstrap and training use."""
    from nervaluate import Evaluator
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    generator = np.random.default_rng(2003)
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    scorers = (precision_score, recall_score, f1_score)
    several = 0
    for _ in range(1000):
        gold, predicted, lengths = random_corpus(generator)
        metrics = score_spans(gold, predicted, lengths)
        labels = list(metrics.per_label)
        several += len(labels) > 1

        def only(label, sides=(gold, predicted)):
            return [[[s for s in spans if s.label == label] for spans in side] for side in sides]

        tags = [
            [iob2_from_spans(spans, length) for spans, length in zip(side, lengths, strict=True)]
            for side in (gold, predicted)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [100 * score(*tags, **strict) for score in scorers]
            by_label = [100 * score(*tags, average=None, **strict) for score in scorers]
        found = Evaluator(*tags, tags=labels, loader="list").evaluate()
        micro, overall = metrics.micro, found["overall"]["strict"]
        assert astuple(micro)[:3] == pytest.approx(expected, abs=1e-12)
        assert astuple(micro)[:3] == pytest.approx(
            [100 * overall.precision, 100 * overall.recall, 100 * overall.f1], abs=1e-12
        )
        assert astuple(micro)[:3] == pytest.approx(
            from_counts(strict_counts(gold, predicted)), abs=1e-12
        )
        assert micro.f1 == pytest.approx(strict_f1(gold, predicted), abs=1e-12)
        for number, label in enumerate(labels):
            ours = astuple(metrics.per_label[label])[:3]
            theirs = found["entities"][label]["strict"]
            assert ours == pytest.approx([score[number] for score in by_label], abs=1e-12)
            assert ours == pytest.approx(
                [100 * theirs.precision, 100 * theirs.recall, 100 * theirs.f1], abs=1e-12
            )
            assert ours == pytest.approx(from_counts(strict_counts(*only(label))), abs=1e-12)
    assert several > 900


@pytest.mark.parametrize(
    ("gold", "predicted", "support"),
    [
        pytest.param([[], []], [[], []], 0, id="nothing at all"),
        pytest.param([[], []], [[Span(0, 1, "PER")], []], 0, id="no gold"),
        pytest.param([[Span(0, 1, "PER")], []], [[], []], 1, id="no predictions"),
    ],
)
def test_undefined_scores_are_zero_and_silent(gold, predicted, support):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = score_spans(gold, predicted, [2, 3])
    assert metrics.micro == Score(0, 0, 0, support)
    assert set(metrics.nervaluate) == set(SCENARIOS)
    assert all(score == Score(0, 0, 0, support) for score in metrics.nervaluate.values())


def test_a_label_that_only_the_predictions_hold_counts_against_precision():
    metrics = score_spans([[Span(0, 1, "PER")]], [[Span(0, 1, "PER"), Span(1, 2, "GPE")]], [2])
    assert astuple(metrics.per_label["GPE"]) == NONE
    assert metrics.micro.precision == pytest.approx(50)
    assert metrics.nervaluate["strict"].precision == pytest.approx(50)


def test_touching_entities_of_one_label_stay_two():
    spans = [[Span(0, 1, "PER"), Span(1, 2, "PER")]]
    assert score_spans(spans, spans, [2]).micro == Score(100, 100, 100, 2)
    merged = score_spans(spans, [[Span(0, 2, "PER")]], [2])
    assert merged.micro.f1 == 0


@pytest.mark.parametrize("library", ["seqeval", "nervaluate"])
def test_a_missing_library_is_one_clear_line(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NerEdgeError, match=r"pip install 'ner-edge\[eval\]'"):
        require_libraries()
