"""Models in torch compute what llama.cpp does, or are refused."""

import pytest
import torch
from exporting import export_model
from test_export_families import LLAMA3_ROPE
from tiny_models import save_model

from ner_edge.errors import ModelError
from ner_edge.hf.torch_model import load_base

LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}


@pytest.mark.parametrize(
    ("rope", "message"),
    [(LLAMA3_ROPE, r"rope_freqs\.weight"), (LINEAR, r"llama\.rope\.scaling\.factor 4\.0")],
)
def test_a_gguf_whose_rotation_transformers_does_not_read_is_refused(rope, message, tmp_path):
    base = save_model(tmp_path / "base", rope_parameters=rope)
    (path,) = export_model(base, None, tmp_path, ["f32"])
    with pytest.raises(ModelError, match=f"transformers ignores its {message}; give the Hugging"):
        load_base(path, torch.float32, torch.device("cpu"))
    load_base(base, torch.float32, torch.device("cpu"))
