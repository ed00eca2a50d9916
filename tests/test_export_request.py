"""A request for an export is checked before anything is read or written."""

from pathlib import Path

import pytest

from ner_edge.errors import UsageError
from ner_edge.export.quantize.collect_imatrix import ImatrixData
from ner_edge.export.quantize.recipe import Recipe
from ner_edge.export.request import ExportRequest
from ner_edge.gguf.imatrix import Imatrix

FOLDER = Path("out")
RECIPE = Recipe("a", {"blk.0.ffn_up.weight": "q5_0"})


def types(*arguments, **settings):
    return [quant.name for quant in ExportRequest(FOLDER, *arguments, **settings).types]


def test_q8_0_is_the_default_unless_a_recipe_is_asked_for():
    data = ImatrixData([], "a.conll")
    assert types() == ["q8_0"]
    assert types(["Q4_K_M", "f16"]) == ["q4_k_m", "f16"]
    assert types(recipes=[RECIPE]) == types(sizes=[1], imatrix=data) == []
    assert types(max_losses=[2.0], imatrix=data) == []
    assert types(["f16"], recipes=[RECIPE]) == ["f16"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quants": ["q4"]}, "unknown quantization type 'q4'"),
        ({"quants": ["iq2_xs"]}, "iq2_xs needs an importance matrix: .* with --imatrix"),
        ({"sizes": [1]}, "--size measures .*: give them with --imatrix"),
        ({"max_losses": [1.0], "imatrix": Imatrix()}, "--max-loss measures"),
        ({"name": "a/b"}, "--name 'a/b' must not contain a path"),
    ],
)
def test_mistakes_are_refused_at_once(settings, message):
    with pytest.raises(UsageError, match=message):
        ExportRequest(FOLDER, **settings)


def test_an_importance_matrix_allows_the_smallest_types():
    assert types(["iq2_xs"], imatrix=Imatrix()) == ["iq2_xs"]
