"""Calibration: from labelled data to the adapter's folder, into the model file, to the scores."""

import numpy as np
import pytest
from command_line import run
from exporting import export_model
from tiny_models import save_adapter

from ner_edge.calibration import Calibration, load_saved_calibration, scaled
from ner_edge.errors import ModelError
from ner_edge.eval.fit import MOST_LOST, Read, auto_result, best_threshold
from ner_edge.gguf.metadata import describe
from ner_edge.spans import ScoredSpan, Span, strict_f1
from ner_edge.tagger import Tagger
from ner_edge.task import load_task
from ner_edge.word_head import Reading

TEXT = "Ada Lovelace lived in London with Charles Babbage."


@pytest.fixture
def adapter(tiny, tmp_path):
    folder = save_adapter(tmp_path / "adapter", tiny.folder)
    load_task("conll2003-short").save(folder)
    return folder


def test_an_export_takes_it_in_and_only_the_scores_change(tiny, adapter, tmp_path):
    (before,) = export_model(tiny.folder, adapter, tmp_path / "a", ["f16"])
    Calibration(2.5).save(adapter)
    (after,) = export_model(tiny.folder, adapter, tmp_path / "b", ["f16"])
    assert [describe(path).calibration.temperature for path in (before, after)] == [1.0, 2.5]
    with Tagger.load(before, threads=1) as one, Tagger.load(after, threads=1) as two:
        words = TEXT.split()
        (raw,), (cooled,) = list(one.tag_words([words])), list(two.tag_words([words]))
    assert raw
    assert cooled == [span._replace(score=scaled(span.score, 2.5)) for span in raw]


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "no",
        '{"temperature": -1}',
        '{"temperature": "x"}',
        '{"temperature": 1, "read_temperature": 1000}',
        '{"temperature": 1, "threshold": 1.01}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "ner_edge_calibration.json").write_text(content)
    with pytest.raises(ModelError, match="ner_edge_calibration"):
        load_saved_calibration(tmp_path)


def test_eval_says_where_it_cannot_be_kept(tiny, tmp_path):
    gold = tmp_path / "gold.conll"
    gold.write_text("Ada I-PER\n")
    arguments = ["eval", str(gold), "-m", str(tiny.gguf), "--save-calibration", str(tmp_path)]
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: --save-calibration {tmp_path}: not an adapter folder\n",
    )
    result = run(*arguments, "-m", "another.gguf")
    assert result.exit_code == 2
    assert "one model file" in result.stderr


def test_eval_keeps_what_it_found_beside_the_adapter(tiny, adapter, tmp_path):
    gold = tmp_path / "gold.conll"
    gold.write_text("Ada I-PER\nlives O\nin O\nLondon I-LOC\n\nKim I-PER\nsings O\n" * 5)
    other = tmp_path / "other.conll"
    other.write_text("in O\nRome I-LOC\n\nAda I-PER\n" * 4)
    settings = ["-m", str(tiny.gguf), "--no-speed", "--threads", "1", "--save-calibration"]

    def temperature_on(*data):
        result = run("eval", *map(str, data), *settings, str(adapter))
        assert result.exit_code == 0, result.output
        return load_saved_calibration(adapter).temperature

    together = temperature_on(gold, other)
    gold.write_text(gold.read_text() + "\n" + other.read_text())
    assert temperature_on(gold) == together


NO_TAGS = np.zeros((0, 9), np.float32)


def sentence(p, written, read):
    """A sentence of one word, an entity. Writing and reading find it or not; `p` is its tag's."""
    span = Span(0, 1, "PER")
    reading = Reading([ScoredSpan(*span, 0.9)] * read, [p, 1.0], NO_TAGS)
    return Read({span}, [span] * written, reading)


def test_the_threshold_is_the_lowest_that_costs_next_to_nothing():
    n = 2000
    # Sure readings are right, and every other one from a probability of 0.75 down is wrong.
    sentences = [sentence(1 - i / n, True, i < n / 4 or i % 2 == 0) for i in range(n)]
    threshold = best_threshold([sentences])
    gold = [s.gold for s in sentences]
    assert strict_f1(gold, [auto_result(s, threshold) for s in sentences]) >= 100 - MOST_LOST
    assert strict_f1(gold, [auto_result(s, threshold - 0.03) for s in sentences]) < 100 - MOST_LOST
    assert 0.72 < threshold < 0.78


def test_all_files_count_equally_for_the_threshold():
    # In a long file writing is right, in a short one reading is, by more.
    long = [sentence(0.7, True, i % 10 > 0) for i in range(1000)]
    short = [sentence(0.7, i % 2 == 0, True) for i in range(10)]
    assert best_threshold([long, short]) == 0.5
    assert best_threshold([long]) > 0.69
    assert best_threshold([long + short]) > 0.69


@pytest.mark.parametrize(("right", "expected"), [(True, 0.5), (False, 1.0)])
def test_a_reading_that_is_always_right_is_trusted_and_one_that_is_always_wrong_never(
    right, expected
):
    sentences = [sentence(p, True, right) for p in (1.0, 0.9, 0.8)]
    assert best_threshold([sentences]) == expected


def test_what_was_written_ends_where_neither_is_inside_an_entity():
    reading = Reading(
        [ScoredSpan(1, 3, "PER", 0.9), ScoredSpan(5, 6, "LOC", 0.9)],
        [1.0, 0.5, 1.0, 1.0, 1.0, 1.0],
        NO_TAGS,
    )
    written = [Span(2, 4, "LOC"), Span(4, 5, "PER")]
    read = Read(set(), written, reading)
    assert auto_result(read, 0.6) == [Span(2, 4, "LOC"), Span(5, 6, "LOC")]
    assert auto_result(read, 1.0) == written
    assert auto_result(read, 0.4) == [Span(1, 3, "PER"), Span(5, 6, "LOC")]
