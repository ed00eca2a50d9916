"""Reading given answers finds the decisions that decoding takes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_model import StubModel, tokenize

from ner_edge.errors import ModelError
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.decisions import Decision, mean_kl, read_decisions
from ner_edge.runtime.engine import CopyEngine
from ner_edge.runtime.scheduler import Scheduler
from ner_edge.spans import Span
from ner_edge.task import Task

TASK = Task("t", {"ORG": "", "LOC": "", "ORL": ""}, "Mark:", "plain")
WORDS = ["Ada", "of", "the", "[", "[[", "]", "|", "London", "7", ".", "[a", "שלום", "😀"]


def fresh(batch: int = 512) -> StubModel:
    model = StubModel(batch)
    model.sequences = 4
    return model


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), max_size=6),
    st.sampled_from([60, 120, 512]),
)
def test_decoded_answers_take_the_likeliest_branch_everywhere(sentences, batch):
    prompts = PromptTokenizer(TASK.prefix, TASK.suffix, tokenize)
    model = StubModel(512, prompts.prefix)
    engine = CopyEngine(model, list(TASK.labels), prompts, in_flight=2)
    found = [
        decoded.spans for decoded in Scheduler(engine).decode([[words]] for words in sentences)
    ]
    answers = [
        (words, [Span(*span[:3]) for span in spans])
        for words, spans in zip(sentences, found, strict=True)
    ]
    read = list(read_decisions(fresh(batch), TASK, answers))
    assert len(read) == len(sentences)
    for decisions, spans in zip(read, found, strict=True):
        chances = [p[taken] for p, taken in decisions]
        assert all(chance == max(p) for chance, (p, _) in zip(chances, decisions, strict=True))
        assert all(p.sum() == pytest.approx(1) for p, _ in decisions)
        # Each score multiplies some of these, so all of them multiply to at most the scores.
        assert math.prod(chances) <= math.prod(span.score for span in spans) * (1 + 1e-9)


def test_entities_that_cannot_be_written_are_not_marked():
    words = ["a", "|", "b"]
    (marked,) = read_decisions(fresh(), TASK, [(words, [Span(0, 3, "LOC")])])
    (plain,) = read_decisions(fresh(), TASK, [(words, [])])
    assert [d.taken for d in marked] == [d.taken for d in plain]
    assert mean_kl([marked], [plain]) == 0


def test_an_answer_longer_than_the_context_is_an_error():
    model = fresh()
    model.context_size = 40
    with pytest.raises(ModelError, match="longer than the model's context"):
        list(read_decisions(model, TASK, [(["London"] * 40, [])]))


def test_divergence_is_that_of_its_definition():
    p = [Decision(np.array([0.5, 0.5]), 0), Decision(np.array([1.0, 0.0]), 0)]
    q = [Decision(np.array([0.25, 0.75]), 0), Decision(np.array([0.5, 0.5]), 0)]
    expected = (0.5 * math.log(2) + 0.5 * math.log(2 / 3) + math.log(2)) / 2
    assert mean_kl([p], [q]) == pytest.approx(expected)
    assert mean_kl([[], []], [[], []]) == 0
