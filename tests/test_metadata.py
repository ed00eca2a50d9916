"""What a file says about itself, and how a damaged one is refused."""

from contextlib import suppress
from pathlib import Path

import pytest
from exporting import export_model
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import save_model

from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("metadata")
    return export_model(save_model(folder / "base"), None, folder, ["q8_0"])[0]


def test_metadata(model):
    metadata = describe(model)
    assert metadata.architecture == "llama"
    assert metadata.name == "base"
    assert metadata.quant == "q8_0"
    assert metadata.size_bytes == model.stat().st_size
    assert metadata.tensor_types == {"Q8_0": 15, "F32": 5}
    assert 8.5 <= metadata.bits_per_weight < 8.7
    assert metadata.task is None


def test_reader_agrees_with_ggufs_own(model):
    ours, theirs = GGUFFile(model), GGUFReader(model)
    assert {info.name: (info.offset, info.nbytes, info.type) for info in ours.tensors.values()} == {
        t.name: (t.data_offset, t.n_bytes, t.tensor_type) for t in theirs.tensors
    }
    for key, value in ours.metadata().items():
        expected = theirs.fields[key].contents()
        decode = value.value.decode() if isinstance(value.value, bytes) else value.value
        if isinstance(decode, list) and isinstance(decode[0], bytes):
            decode = [item.decode() for item in decode]
        assert decode == expected, key


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_truncated_file_is_refused(model, tmp_path, data):
    whole = model.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    if whole[length:].strip(b"\0") == b"":
        return  # only padding is lost
    (tmp_path / "cut.gguf").write_bytes(whole[:length])
    with pytest.raises(ModelError, match=r"cut\.gguf: .*") as caught:
        describe(tmp_path / "cut.gguf")
    assert "\n" not in str(caught.value)


@given(position=st.integers(0, 400), byte=st.integers(0, 255))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_header_raises_nothing_but_model_error(model, tmp_path, position, byte):
    damaged = bytearray(model.read_bytes())
    damaged[position] = byte
    (tmp_path / "damaged.gguf").write_bytes(damaged)
    with suppress(ModelError):
        describe(tmp_path / "damaged.gguf")


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        describe(tmp_path / "absent.gguf")
    with pytest.raises(ModelError, match="is a folder, not a file"):
        describe(tmp_path)
