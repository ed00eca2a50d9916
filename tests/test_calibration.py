"""Calibration: from labelled data to the adapter's folder, into the model file, to the scores."""

import pytest
from command_line import run
from exporting import export_model
from tiny_models import save_adapter

from ner_edge.calibration import Calibration, load_saved_calibration, scaled
from ner_edge.errors import ModelError
from ner_edge.eval.fit import MOST_LOST, best_threshold
from ner_edge.gguf.metadata import describe
from ner_edge.tagger import Tagger
from ner_edge.task import load_task

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
    arguments = ["eval", str(gold), "-m", str(tiny.gguf), "--no-speed", "--threads", "1"]
    result = run(*arguments, "--save-calibration", str(adapter))
    assert result.exit_code == 0, result.output
    assert load_saved_calibration(adapter).temperature > 0


def counts_with(right: list[bool]) -> list[tuple[int, int]]:
    return [(int(hit), 1) for hit in right]


def test_the_threshold_is_the_lowest_that_costs_next_to_nothing():
    n = 2000
    probabilities = [1 - i / n for i in range(n)]
    written = counts_with([True] * n)
    # Read alone, the first 1500 sentences are right, and every other one from there on is wrong.
    read = counts_with([i < 1500 or i % 2 == 0 for i in range(n)])
    threshold = best_threshold(probabilities, read, written, n)
    unwritten = sum(p > threshold for p in probabilities)
    wrong = sum(i >= 1500 and i % 2 == 1 for i in range(unwritten))
    assert unwritten >= 1500
    assert 100 * wrong / n <= MOST_LOST < 100 * (wrong + 1) / n


@pytest.mark.parametrize(("hit", "expected"), [(True, 0.0), (False, 1.0)])
def test_a_reading_that_is_always_right_is_always_trusted_and_one_that_is_always_wrong_never(
    hit, expected
):
    probabilities = [1.0, 0.9, 0.8]
    written = counts_with([True] * 3)
    assert best_threshold(probabilities, counts_with([hit] * 3), written, 3) == expected
