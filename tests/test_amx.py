"""Broken AMX kernels are not selected, whichever module is asked for llama.cpp's parameters."""

from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
import torch
from conftest import TinyModel
from exporting import export_model

from ner_edge.runtime import amx
from ner_edge.runtime.amx import is_mended
from ner_edge.runtime.llama import start_backend
from ner_edge.tagger import Tagger

WITH_AMX = b"CPU : AVX512 = 1 | AMX_INT8 = 1 | REPACK = 1 | "


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def pretend(info: bytes) -> None:
        monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: info)

    plain = llama_cpp.llama_model_default_params()
    plain.use_extra_bufts = True
    for module in (llama_cpp, llama_cpp.llama_cpp):
        monkeypatch.setattr(module, "llama_model_default_params", lambda: plain)
    return pretend


def extra_buffers() -> list[bool]:
    modules = (llama_cpp, llama_cpp.llama_cpp)  # `llama_cpp.Llama` calls the second
    return [module.llama_model_default_params().use_extra_bufts for module in modules]


def test_broken_kernels_are_avoided(
    processor: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amx, "is_mended", lambda folder: False)
    processor(WITH_AMX)
    start_backend()
    assert extra_buffers() == [False, False]
    start_backend()
    assert extra_buffers() == [False, False], "also the second time"


def test_mended_kernels_are_used(
    processor: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amx, "is_mended", lambda folder: True)
    processor(WITH_AMX)
    start_backend()
    assert extra_buffers() == [True, True]


def test_without_amx_nothing_changes(processor: Callable[[bytes], None]) -> None:
    processor(b"CPU : AVX512 = 1 | REPACK = 1 | ")
    start_backend()
    assert extra_buffers() == [True, True]


def test_kernels_are_mended_if_every_library_is_marked(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("none", "plain", "one", "all")]
    for folder in folders:
        folder.mkdir()
    marked = b"\x7fELF AMX mended for ner-edge\0"
    for name, contents in (("plain", [b"ELF"]), ("one", [b"ELF", marked]), ("all", [marked])):
        for number, content in enumerate(contents):
            (tmp_path / name / f"libggml-cpu-{number}.so").write_bytes(content)
    assert [is_mended(folder) for folder in folders] == [False, False, False, True]


@pytest.mark.parametrize("quant", ["q4_0", "q8_0", "q4_k_m", "q6_k"])
def test_files_of_its_types_are_read(quant: str, tmp_path: Path, tiny: TinyModel) -> None:
    """On a processor with AMX, multiplying them by broken kernels ends this process."""
    (path,) = export_model(tiny.folder, None, tmp_path, [quant], task=tiny.task)
    with Tagger.load(path, threads=1) as tagger:
        tagger("Ada lives in London .")
    stock = llama_cpp.Llama(str(path), n_ctx=64, verbose=False)
    stock.eval([1, 2, 3])
    stock.close()


def test_tiles_that_another_library_releases_are_configured_again(
    tmp_path: Path, tiny: TinyModel
) -> None:
    """On a processor with AMX, PyTorch multiplies 16-bit matrices by it, and releases the tiles."""
    (path,) = export_model(tiny.folder, None, tmp_path, ["q8_0"], task=tiny.task)
    start_backend()
    llama = llama_cpp.Llama(str(path), n_ctx=64, n_threads=1, logits_all=True, verbose=False)
    matrix = torch.ones(64, 64, dtype=torch.bfloat16)
    logits = []
    for _ in range(3):
        llama.reset()
        llama.eval([1, 2, 3] * 16)
        logits.append(llama.scores[:48].copy())
        assert (matrix @ matrix)[0, 0] == 64
    assert np.array_equal(logits[1], logits[0])
    assert np.array_equal(logits[2], logits[0])
    llama.close()
