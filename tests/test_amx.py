"""llama.cpp's default parameters select no AMX kernels, whichever module is called for them."""

from collections.abc import Callable
from pathlib import Path

import llama_cpp
import pytest
from conftest import TinyModel
from exporting import export_model

from ner_edge.runtime.llama import start_backend
from ner_edge.tagger import Tagger


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


def test_amx_is_avoided_where_it_is(processor: Callable[[bytes], None]) -> None:
    processor(b"CPU : AVX512 = 1 | AMX_INT8 = 1 | REPACK = 1 | ")
    start_backend()
    assert extra_buffers() == [False, False]
    start_backend()
    assert extra_buffers() == [False, False], "also the second time"


def test_elsewhere_nothing_changes(processor: Callable[[bytes], None]) -> None:
    processor(b"CPU : AVX512 = 1 | REPACK = 1 | ")
    start_backend()
    assert extra_buffers() == [True, True]


@pytest.mark.parametrize("quant", ["q4_0", "q8_0", "q4_k_m", "q6_k"])
def test_files_of_its_types_are_read(quant: str, tmp_path: Path, tiny: TinyModel) -> None:
    """On a processor with AMX, multiplying them by AMX kernels ends this process."""
    (path,) = export_model(tiny.folder, None, tmp_path, [quant], task=tiny.task)
    with Tagger.load(path, threads=1) as tagger:
        tagger("Ada lives in London .")
    stock = llama_cpp.Llama(str(path), n_ctx=64, verbose=False)
    stock.eval([1, 2, 3])
    stock.close()
