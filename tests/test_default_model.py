"""The default model, end to end: built from its base and adapter, read by both decoders."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

from ner_edge.builtin import DEFAULT_MODEL, _digest, built_in_model
from ner_edge.calibration import load_saved_calibration
from ner_edge.gguf.metadata import describe
from ner_edge.tagger import Tagger

pytestmark = pytest.mark.model

NEWS = Path(__file__).parent.parent / "examples" / "news.txt"
ODD = [
    "",
    "   \t ",
    "[ | ] and <|im_end|> in Paris , with [brackets | PER] of its own",
    "😀😀 مرحبا بالعالم שלום עולם e\u0301 \u200d \x00 \x01",
    "A" * 5000 + " met " + "x|" * 500,
    "Reuters " * 300,
]


@pytest.fixture(scope="module")
def model() -> Path:
    return built_in_model(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def tagger(model: Path) -> Iterator[Tagger]:
    with Tagger.load(model) as loaded:
        yield loaded


def test_plain_entities_are_found(tagger: Tagger) -> None:
    text = "Barack Obama met Angela Merkel in Berlin on Friday."
    assert [(e.text, e.label) for e in tagger(text)] == [
        ("Barack Obama", "PER"),
        ("Angela Merkel", "PER"),
        ("Berlin", "LOC"),
    ]


def test_offsets_and_scores_hold_on_odd_texts(tagger: Tagger) -> None:
    for text, entities in zip(ODD, tagger.pipe(ODD), strict=True):
        end = 0
        for entity in entities:
            assert entity.start >= end
            assert text[entity.start : entity.end] == entity.text
            assert 0 < entity.score <= 1
            end = entity.end


def test_both_decoders_that_write_agree(model: Path) -> None:
    """Word for word, on sentences whose decisions are clear."""
    texts = NEWS.read_text(encoding="utf-8").splitlines()[:4]
    with (
        Tagger.load(model, decoder="copy") as copy,
        Tagger.load(model, decoder="grammar") as grammar,
    ):
        for text, ours, theirs in zip(texts, copy.pipe(texts), grammar.pipe(texts), strict=True):
            sure = [(e.start, e.end, e.label) for e in ours if e.score > 0.7]
            assert set(sure) <= {(e.start, e.end, e.label) for e in theirs}, text


@pytest.mark.parametrize("settings", [{"decoder": "read"}, {"decoder": "read", "depth": 20}])
def test_reading_alone_finds_plain_entities(
    model: Path, tagger: Tagger, settings: dict[str, Any]
) -> None:
    assert tagger.decoder == "auto"
    text = "Barack Obama met Angela Merkel in Berlin on Friday."
    with Tagger.load(model, **settings) as reader:
        found = [(e.text, e.label) for e in reader(text)]
    assert found == [(e.text, e.label) for e in tagger(text)]


def test_the_command_finds_the_cached_model_and_prints_one_object_per_line(model: Path) -> None:
    written = model.stat().st_mtime_ns
    command = [sys.executable, "-m", "ner_edge", "tag", "--format", "jsonl"]
    text = "Ada Lovelace lived in London.\n\nIBM\n"
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert [o["text"] for o in objects] == text.splitlines()
    assert [e["label"] for e in objects[0]["entities"]] == ["PER", "LOC"]
    assert result.stderr == ""
    assert model.stat().st_mtime_ns == written


def test_the_file_is_another_one_when_anything_it_is_made_of_changes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("adapter_model.safetensors", "100mb.toml", "scores.json")]
    for path in paths:
        path.write_text("a")
    digests = [_digest(tmp_path)]
    for path in paths:
        path.write_text("b")
        digests.append(_digest(tmp_path))
    assert len(set(digests)) == 3
    assert digests[2] == digests[3]  # scores describe it


def test_the_file_holds_the_temperature_that_is_shipped() -> None:
    path = built_in_model(DEFAULT_MODEL)
    with as_file(files("ner_edge").joinpath("default")) as folder:
        assert describe(path).calibration == load_saved_calibration(folder)
        assert _digest(folder)[:8] in path.name
