"""The word head in a file: what training writes, a reader without torch reads."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ner_edge.errors import ModelError
from ner_edge.hf.word_head import HEAD_FILE, read_word_head
from ner_edge.train.word_head import WordHeadModule

LABELS = ["PER", "Ort"]
CONFIG = SimpleNamespace(num_hidden_layers=9, hidden_size=6, rms_norm_eps=1e-5)


def test_what_training_saves_is_read(tmp_path: Path) -> None:
    head = WordHeadModule(CONFIG, LABELS, early=True, seed=3)
    head.passage = 100
    head.save(tmp_path)
    saved = read_word_head(tmp_path)
    assert saved is not None
    assert (list(saved.labels), saved.passage) == (LABELS, 100)
    assert list(saved.layers) == head.depths == [8, 9]
    for depth, (weight, bias) in saved.layers.items():
        layer: Any = head.layers[str(depth)]
        assert (weight.dtype.name, weight.shape, bias.shape) == ("float32", (5, 6), (5,))
        np.testing.assert_array_equal(weight, layer.weight.detach().numpy())
        np.testing.assert_array_equal(bias, layer.bias.detach().numpy())


def test_most_adapters_have_none(tmp_path: Path) -> None:
    assert read_word_head(tmp_path) is None


def tensors(tags: int = 5, width: int = 6, name: str = "layers.9") -> dict[str, Any]:
    return {
        f"{name}.weight": np.ones((tags, width), np.float32),
        f"{name}.bias": np.zeros(tags, np.float32),
    }


@pytest.mark.parametrize(
    ("weights", "labels", "message"),
    [
        (tensors(), None, r"not a word head \(its metadata have no labels\)"),
        (tensors(), "PER", r"labels: not a list of labels \("),
        (tensors(), "[]", r"labels: not a list of labels \("),
        (tensors(), "[1, 2]", r"labels: not a list of labels \("),
        (tensors(), json.dumps(["x" * 101, "B"]), r"labels: not a list of labels \("),
        (tensors(), '["A", "A"]', "a label occurs twice"),
        (tensors(), '["A"]', r"layers.9.weight has shape \(5, 6\), .* 3 tags, .* \(3, 6\)"),
        (
            tensors() | tensors(width=7, name="layers.4"),
            '["A", "B"]',
            r"layers.9.weight has shape \(5, 6\), .* should be \(5, 7\)",
        ),
        (
            tensors() | {"layers.9.bias": np.zeros((5, 1), np.float32)},
            '["A", "B"]',
            r"layers.9.bias has shape \(5, 1\)",
        ),
        ({"layers.9.weight": np.ones((5, 6))}, '["A", "B"]', "expected pairs of tensors"),
        (tensors(name="layers.0"), '["A", "B"]', "expected pairs of tensors"),
        (tensors(name="layers.09"), '["A", "B"]', "expected pairs of tensors"),
        (tensors() | {"more": np.ones(1)}, '["A", "B"]', "expected pairs of tensors"),
        ({"weight": np.ones((5, 6))}, '["A", "B"]', "expected pairs of tensors"),
        (
            tensors() | {"layers.9.bias": np.full(5, np.nan, np.float32)},
            '["A", "B"]',
            "layer 9 has values that are not finite",
        ),
        (tensors() | {"layers.9.bias": np.zeros(5, np.int32)}, '["A", "B"]', "has type I32"),
    ],
    ids=range(16),
)
def test_a_foreign_file_is_refused(
    weights: dict[str, Any], labels: str | None, message: str, tmp_path: Path
) -> None:
    metadata = {} if labels is None else {"labels": labels}
    save_file(weights, tmp_path / HEAD_FILE, metadata)
    with pytest.raises(ModelError, match=rf"{HEAD_FILE}: .*{message}"):
        read_word_head(tmp_path)


def test_a_passage_is_a_number_of_words(tmp_path: Path) -> None:
    for length in ("-1", "ten", "1" * 9):
        metadata = {"labels": '["A", "B"]', "passage": length}
        save_file(tensors(), tmp_path / HEAD_FILE, metadata)
        with pytest.raises(ModelError, match=f"passage is not a number of words .'{length}'"):
            read_word_head(tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    WordHeadModule(CONFIG, LABELS, early=True).save(tmp_path)
    path = tmp_path / HEAD_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="damaged or incomplete safetensors file"):
        read_word_head(tmp_path)
