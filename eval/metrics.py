"""Precision, recall and F1 of predicted entities, by seqeval and by nervaluate."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ner_edge.errors import NerEdgeError
from ner_edge.spans import Span, iob2_from_spans

SCENARIOS = ("strict", "exact", "partial", "ent_type")


@dataclass(frozen=True)
class Score:
    """Precision, recall and F1 in percent (0 where undefined); `support` counts gold entities."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Metrics:
    """All scores of one model on one set of sentences."""

    per_label: dict[str, Score]
    """seqeval, strict; the labels of gold and predictions, sorted."""
    micro: Score
    """seqeval, strict, micro average: what "F1" means by default."""
    nervaluate: dict[str, Score]
    """One score for each of `SCENARIOS`, over all labels."""


def score_spans(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], lengths: Sequence[int]
) -> Metrics:
    """Score predictions against gold, sentence by sentence; `lengths` are their numbers of words.

    Both libraries read the same IOB2 tags: seqeval (Nakayama 2018) with `mode="strict"`, and
    nervaluate for the four scenarios of SemEval-2013 Task 9.1 (Segura-Bedmar et al. 2013), of which
    strict must equal seqeval's. Raises `NerEdgeError` if a library is missing.
    """
    gold_tags = _tags(gold, lengths)
    predicted_tags = _tags(predicted, lengths)
    labels = sorted({span.label for spans in (*gold, *predicted) for span in spans})
    per_label, micro = _seqeval(gold_tags, predicted_tags, labels)
    return Metrics(per_label, micro, _nervaluate(gold_tags, predicted_tags, labels))


def require_libraries() -> None:
    """Raise `NerEdgeError` now, before hours of decoding, if a library is missing."""
    try:
        import nervaluate  # noqa: F401
        import seqeval  # noqa: F401
    except ImportError:
        raise NerEdgeError("evaluation needs: pip install 'ner-edge[eval]'") from None


def _tags(sentences: Sequence[Sequence[Span]], lengths: Sequence[int]) -> list[list[str]]:
    return [
        iob2_from_spans(spans, length) for spans, length in zip(sentences, lengths, strict=True)
    ]


def _seqeval(
    gold: list[list[str]], predicted: list[list[str]], labels: Sequence[str]
) -> tuple[dict[str, Score], Score]:
    require_libraries()
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    with warnings.catch_warnings():
        # seqeval warns of labels without gold or predictions; they score 0.
        warnings.simplefilter("ignore")
        report = classification_report(
            gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
        )

    def score(row: dict[str, Any]) -> Score:
        precision, recall, f1 = (
            100 * float(row[key]) for key in ("precision", "recall", "f1-score")
        )
        return Score(precision, recall, f1, int(row["support"]))

    return {label: score(report[label]) for label in labels}, score(report["micro avg"])


def _nervaluate(
    gold: list[list[str]], predicted: list[list[str]], labels: list[str]
) -> dict[str, Score]:
    require_libraries()
    from nervaluate import Evaluator

    overall = Evaluator(gold, predicted, tags=labels, loader="list").evaluate()["overall"]
    return {
        scenario: Score(
            100 * overall[scenario].precision,
            100 * overall[scenario].recall,
            100 * overall[scenario].f1,
            overall[scenario].possible,
        )
        for scenario in SCENARIOS
    }
