"""One row per architecture, and no branch on a name anywhere else."""

import ast
from pathlib import Path

import pytest
from test_imports import modules

from ner_edge.architectures import BY_MODEL_TYPE, BY_NAME, find_architecture
from ner_edge.errors import ModelError

NAMES = {*BY_NAME, *BY_MODEL_TYPE}


def comparisons_with_a_name(source: str) -> list[str]:
    """The comparisons in Python source in which an architecture's name is written out."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and part.value in NAMES
    ]


def test_no_module_compares_with_the_name_of_an_architecture():
    found = {name: comparisons_with_a_name(path.read_text()) for name, path in modules().items()}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize("planted", ['x = a == "llama"', 'if a in ("qwen2", "b"):\n    pass'])
def test_a_planted_branch_is_found(planted):
    assert comparisons_with_a_name(planted)


def test_every_name_leads_to_its_row():
    assert BY_NAME["llama"].model_type == "llama", "not mistral, which has the same name"
    for row in BY_MODEL_TYPE.values():
        assert BY_NAME[row.name].layer == row.layer
        for layer in (0, 11):
            tensors = [row.tensor(module) for module in row.modules(layer)]
            assert len(set(tensors)) == len(row.layer)
            assert all(tensor.startswith(f"blk.{layer}.") for tensor in tensors)
    assert BY_NAME["llama"].tensor("model.layers.3.mlp.gate") is None
    assert BY_NAME["llama"].tensor("lm_head") == "output"


@pytest.mark.parametrize("name", ["mamba", None, 3])
def test_another_architecture_is_refused_with_the_list(name):
    with pytest.raises(ModelError, match=f"x: architecture '{name}' .*: gemma3, llama, qwen2"):
        find_architecture(name, BY_NAME, Path("x"))
