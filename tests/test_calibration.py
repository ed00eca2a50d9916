"""Temperature: from labelled data to the adapter's folder, into the model file, to the scores."""

import pytest
from command_line import run
from exporting import export_model
from tiny_models import save_adapter

from ner_edge.errors import ModelError
from ner_edge.gguf.metadata import describe
from ner_edge.tagger import Tagger
from ner_edge.task import load_task
from ner_edge.temperature import load_saved_temperature, save_temperature, scaled

TEXT = "Ada Lovelace lived in London with Charles Babbage."


@pytest.fixture
def adapter(tiny, tmp_path):
    folder = save_adapter(tmp_path / "adapter", tiny.folder)
    load_task("conll2003-short").save(folder)
    return folder


def test_an_export_takes_it_in_and_only_the_scores_change(tiny, adapter, tmp_path):
    (before,) = export_model(tiny.folder, adapter, tmp_path / "a", ["f16"])
    save_temperature(adapter, 2.5)
    (after,) = export_model(tiny.folder, adapter, tmp_path / "b", ["f16"])
    assert (describe(before).temperature, describe(after).temperature) == (1.0, 2.5)
    with Tagger.load(before, threads=1) as one, Tagger.load(after, threads=1) as two:
        words = TEXT.split()
        (raw,), (cooled,) = list(one.tag_words([words])), list(two.tag_words([words]))
    assert raw
    assert cooled == [span._replace(score=scaled(span.score, 2.5)) for span in raw]


@pytest.mark.parametrize(
    "content", ["{}", "[]", "no", '{"temperature": -1}', '{"temperature": "x"}']
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "ner_edge_temperature.json").write_text(content)
    with pytest.raises(ModelError, match="temperature"):
        load_saved_temperature(tmp_path)


def test_eval_says_where_it_cannot_be_kept(tiny, tmp_path):
    gold = tmp_path / "gold.conll"
    gold.write_text("Ada I-PER\n")
    arguments = ["eval", str(gold), "-m", str(tiny.gguf), "--save-temperature", str(tmp_path)]
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: --save-temperature {tmp_path}: not an adapter folder\n",
    )
    result = run(*arguments, "-m", "another.gguf")
    assert result.exit_code == 2
    assert "one model file" in result.stderr


def test_eval_keeps_what_it_found_beside_the_adapter(tiny, adapter, tmp_path):
    gold = tmp_path / "gold.conll"
    gold.write_text("Ada I-PER\nlives O\nin O\nLondon I-LOC\n\nKim I-PER\nsings O\n" * 5)
    arguments = ["eval", str(gold), "-m", str(tiny.gguf), "--no-speed", "--threads", "1"]
    result = run(*arguments, "--save-temperature", str(adapter))
    assert result.exit_code == 0, result.output
    assert load_saved_temperature(adapter) > 0
