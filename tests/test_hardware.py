"""The hardware that a model runs on: a GPU if there is one, and only if it is wanted."""

import ctypes
from typing import Any

import llama_cpp
import pytest
from command_line import run
from conftest import TinyModel

from ner_edge.errors import NerEdgeWarning
from ner_edge.runtime.hardware import ALL_LAYERS, describe_hardware, usable_gpu_layers
from ner_edge.tagger import Tagger

TEXT = "Ada lives in London ."
NO_GPU = (
    "--gpu-layers 12 has no effect: llama.cpp was built without GPU support or finds no GPU "
    "(see docs/gpu.md)"
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("requested", "layers"), [(None, ALL_LAYERS), (12, 12), (0, 0)])
def test_a_gpu_runs_all_layers_unless_fewer_are_requested(
    requested: int | None, layers: int
) -> None:
    assert usable_gpu_layers(requested) == layers


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("requested", [None, 0])
def test_without_a_gpu_no_layer_runs_on_one(requested: int | None) -> None:
    assert usable_gpu_layers(requested) == 0


@pytest.mark.usefixtures("no_gpu")
def test_layers_requested_without_a_gpu_are_warned_of() -> None:
    with pytest.warns(NerEdgeWarning) as warnings:
        assert usable_gpu_layers(12) == 0
    assert [str(warning.message) for warning in warnings] == [NO_GPU]


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_tag_warns_and_finds_the_same(tiny: TinyModel) -> None:
    command = ("tag", "--model", tiny.gguf, "--threads", 1)
    plain = run(*command, stdin=TEXT)
    requested = run(*command, "--gpu-layers", 12, stdin=TEXT)
    assert (requested.exit_code, requested.stdout) == (0, plain.stdout)
    assert requested.stderr == f"warning: {NO_GPU}\n"


@pytest.mark.usefixtures("no_gpu")
def test_layers_requested_without_a_gpu_do_not_slow_the_cpu_down(tiny: TinyModel) -> None:
    with pytest.warns(NerEdgeWarning):
        tagger = Tagger.load(tiny.gguf, threads=1, gpu_layers=12)
    with tagger:
        assert tagger._model._head, "on a CPU, it replaces the last layer"
        assert tagger.hardware == "1 thread"


@pytest.mark.usefixtures("gpu")
def test_a_model_without_layers_on_the_gpu_uses_no_device(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, llama.cpp multiplies batches of 32 tokens on a GPU that holds no layer."""
    first_devices = []
    load = llama_cpp.llama_model_load_from_file

    def spy(path: bytes, parameters: Any) -> Any:
        devices = ctypes.cast(parameters.devices, ctypes.POINTER(ctypes.c_void_p))
        first_devices.append(devices[0])
        return load(path, parameters)

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", spy)
    with Tagger.load(tiny.gguf, threads=1, gpu_layers=0) as tagger:
        tagger(TEXT)
        assert tagger.hardware == "1 thread"
    assert first_devices == [None]


@pytest.mark.parametrize(
    ("threads", "layers", "described"),
    [
        (2, 0, "2 threads"),
        (1, 12, "1 thread and 12 layers on a GPU"),
        (2, ALL_LAYERS, "2 threads and a GPU"),
    ],
)
def test_hardware_is_described(threads: int, layers: int, described: str) -> None:
    assert describe_hardware(threads, layers) == described
