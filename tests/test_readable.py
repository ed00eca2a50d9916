"""Parts that are not language are skipped, so that time is bounded by the length of a text."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hostile_texts import HOSTILE, ordinary
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_model import StubModel, tokenize

from ner_edge.runtime.batch import Run
from ner_edge.runtime.readable import MAX_SIGNS, MAX_TOKENS, readable_spans
from ner_edge.segment import MAX_WORD
from ner_edge.spans import ScoredSpan
from ner_edge.tagger import Tagger
from ner_edge.task import load_task


class CountingModel(StubModel):
    """Never begins an entity, and counts the tokens and batches it is fed."""

    fed = batches = 0

    def decode(self, runs: Sequence[Run], *, whole: bool = False) -> list[dict[int, int]]:
        self.fed += sum(len(run.tokens) for run in runs)
        self.batches += 1
        return super().decode(runs, whole=whole)

    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        return [-10.0 * i for i in range(len(tokens))]  # copying is the first candidate


def work(text: str, model: type[CountingModel] = CountingModel) -> tuple[int, int]:
    """Return the number of tokens fed and of batches."""
    counting = model(512, context=4096)
    tagger = Tagger(counting, Path("stub.gguf"), load_task("conll2003-short"), "copy")
    before = counting.fed, counting.batches
    tagger(text)
    return counting.fed - before[0], counting.batches - before[1]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_takes_no_more_work_than_three_times_ordinary_text(kind: str) -> None:
    text = HOSTILE[kind]
    length = min(len(text), 3000)  # longer text must take even less work
    fed, batches = work(ordinary(length))
    hostile_fed, hostile_batches = work(text)
    assert hostile_fed <= 3 * fed
    assert hostile_batches <= 3 * batches + 5


class StubbornModel(CountingModel):
    """Gives random answers."""

    logits = StubModel.logits


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*"aA1[| .\n", "é", "\u0301", "\u200b", "😀", "字", "Mr. "])).map(
        "".join
    ),
    st.integers(1, 40),
)
def test_work_is_bounded_whatever_the_text_and_the_answers(text: str, times: int) -> None:
    text *= times
    written = 2 * len(tokenize(" ".join(text))) + 20 * len(text)  # even with brackets everywhere
    fed, _ = work(text, StubbornModel)
    assert fed <= 100 + 12 * written


@given(
    st.lists(
        st.sampled_from(
            ["Ada", "[", "-", "7", "é" * MAX_TOKENS, "x" * (MAX_TOKENS + 1), "a" * MAX_WORD]
        )
    )
)
def test_parts_are_all_but_endless_words_and_rows_of_signs(words: list[str]) -> None:
    spans = list(readable_spans(words, len))
    read = [word for start, end in spans for word in words[start:end]]
    assert read.count("Ada") == words.count("Ada")
    assert not any(len(word) > MAX_TOKENS for word in read)
    line = "".join("s" if word in "[-" else "w" for word in words)
    rows = [row for row in line.split("w") if len(row) > MAX_SIGNS]
    unread = words.count("x" * (MAX_TOKENS + 1)) + words.count("a" * MAX_WORD)
    assert len(words) - len(read) == unread + sum(map(len, rows))


class EagerModel(CountingModel):
    """Makes every word an entity."""

    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        return [10.0 * i for i in range(len(tokens))]


@pytest.mark.parametrize(
    "unread", ["x" * MAX_WORD, "ab1" * 40, " ".join("-" * 9), "y" * 450, "😀" * 9]
)
def test_the_rest_of_the_sentence_is_tagged_where_it_stands(unread: str) -> None:
    tagger = Tagger(
        EagerModel(512, context=4096), Path("stub.gguf"), load_task("conll2003-short"), "copy"
    )
    text = f"Ada saw {unread} in Rome"
    found = [entity.text for entity in tagger(text)]
    assert [text for text in found if text != "y" * 50] == ["Ada", "saw", "in", "Rome"]
    words = ["Ada", *unread.split(), "Rome"]
    spans: list[ScoredSpan] = next(tagger.tag_words([words]))
    if len(unread.split()) > MAX_SIGNS:
        assert [span[:2] for span in spans] == [(0, 1), (len(words) - 1, len(words))]
