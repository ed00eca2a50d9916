"""Weights in types that AMX kernels lack are the same in q8_0."""

from pathlib import Path

import numpy as np
import pytest
from conftest import TinyModel
from exporting import export_model
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ner_edge.files.atomic import scratch_folder
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.widen import write_widened
from ner_edge.runtime import amx
from ner_edge.runtime.amx import readable_by_amx
from ner_edge.runtime.batch import Run
from ner_edge.runtime.llama import LlamaModel

TYPES = [GGMLQuantizationType[name] for name in ("Q5_0", "IQ4_NL", "Q4_0", "Q8_0", "F32")]


@given(
    types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=4),
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_widened_file_holds_the_same_weights(
    types: list[GGMLQuantizationType],
    rows: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    random = np.random.default_rng(seed)
    with scratch_folder(tmp_path_factory.getbasetemp(), "widen") as folder:
        writer = GGUFWriter(folder / "model.gguf", "llama")
        writer.add_array("tokenizer.ggml.tokens", ["a", "Zürich", ""])
        for number, kind in enumerate(types):
            block, block_bytes = GGML_QUANT_SIZES[kind]
            raw = random.integers(0, 256, (rows, 64 // block * block_bytes), np.uint8)
            scales = raw.reshape(-1, block_bytes)
            scales[:, :2] = random.normal(size=(len(scales), 1)).astype(np.float16).view(np.uint8)
            if kind == GGMLQuantizationType.F32:
                raw = random.normal(size=(rows, 64)).astype(np.float32).view(np.uint8)
            name = f"blk.{number}.weight" if number else "token_embd.weight"
            writer.add_tensor(name, raw, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        model = GGUFFile(folder / "model.gguf")
        with (folder / "wide.gguf").open("wb") as file:
            write_widened(model, file)
        wide = GGUFFile(folder / "wide.gguf")
        assert wide.metadata() == model.metadata()
        assert list(wide.tensors) == list(model.tensors)
        for number, (name, info) in enumerate(wide.tensors.items()):
            changed = number and types[number].name in ("Q5_0", "IQ4_NL")
            assert info.type == (GGMLQuantizationType.Q8_0 if changed else types[number])
            assert np.array_equal(wide.float32(name), model.float32(name))


@pytest.fixture
def with_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "_has_amx", lambda: True)
    monkeypatch.setattr(amx, "_mended", lambda: True)


def test_a_widened_model_computes_the_same(
    tmp_path: Path, tiny: TinyModel, with_amx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = export_model(tiny.folder, None, tmp_path, ["q5_0"], task=tiny.task)
    path = path.rename(tmp_path / f"{'長' * 83}.gguf")  # names in memory may not be as long
    with readable_by_amx(path) as file:
        assert file != path
        assert GGUFFile(file).tensors["blk.0.ffn_up.weight"].type == GGMLQuantizationType.Q8_0
    assert not file.exists(), "the memory is free again"
    widened = last_logits(path)
    monkeypatch.setattr(amx, "_MOST_WIDENED", 0)
    assert np.allclose(widened, last_logits(path), atol=0.1)  # AMX rounds differently
    assert np.ptp(widened) > 1


def last_logits(path: Path) -> NDArray[np.float32]:
    llama = LlamaModel(path, context=64, sequences=1, threads=1)
    tokens = llama.tokenize("Ada lives in London .")
    (rows,) = llama.decode([Run(0, 0, tokens, [len(tokens) - 1])], whole=True)
    logits = np.array(llama.all_logits(rows[len(tokens) - 1]))
    llama.close()
    return logits


def test_other_files_are_loaded_as_they_are(
    tmp_path: Path, tiny: TinyModel, with_amx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, with_some = export_model(tiny.folder, None, tmp_path, ["q8_0", "q5_0"], task=tiny.task)
    with readable_by_amx(without) as file:
        assert file == without
    monkeypatch.setattr(amx, "_MOST_WIDENED", with_some.stat().st_size - 1)
    with readable_by_amx(with_some) as file:
        assert file == with_some, "too large"
    monkeypatch.setattr(amx, "_mended", lambda: False)
    monkeypatch.setattr(amx, "_MOST_WIDENED", 10**9)
    with readable_by_amx(with_some) as file:
        assert file == with_some
