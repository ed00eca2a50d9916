"""The arrangement of workers, and the model's way to other machines."""

import hashlib
import os
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from command_line import assert_error, run

from ner_edge.bulk.cluster import Arrangement, Wishes, arrange, ray_session
from ner_edge.bulk.manifest import Manifest, ModelStamp, Settings
from ner_edge.bulk.model_file import ModelFile
from ner_edge.bulk.storage import Location
from ner_edge.errors import ModelError, NerEdgeError, UsageError

LAPTOP = [{"CPU": 4.0, "memory": 8e9}]
MODEL = 100_000_000


def arranged(nodes, *, gpu=False, parts=100, **wishes) -> Arrangement:
    return arrange(nodes, Wishes(**wishes), MODEL, parts, gpu=gpu)


def test_workers_of_one_thread_fill_the_cores():
    assert arranged(LAPTOP) == Arrangement(4, 1, 600_000_000)
    assert arranged([*LAPTOP, {"CPU": 2.0, "memory": 8e9}, {"memory": 8e9}]).workers == 6


def test_threads_fill_the_cores_where_few_workers_are_wanted_or_fit():
    assert arranged(LAPTOP, memory=3_000_000_000) == Arrangement(2, 2, 3_000_000_000)
    assert arranged(LAPTOP, workers=1) == Arrangement(1, 4, 600_000_000)
    assert arranged(LAPTOP, parts=1) == Arrangement(1, 4, 600_000_000)
    assert arranged(LAPTOP, workers=3)[:2] == (3, 1)
    assert arranged([{"CPU": 1.0, "memory": 700e6}, *LAPTOP], workers=1)[:2] == (1, 4)


def test_wishes_come_first():
    assert arranged(LAPTOP, threads=2)[:2] == (2, 2)
    assert arranged(LAPTOP, workers=1, threads=1)[:2] == (1, 1)


def test_workers_share_gpus():
    nodes = [{"CPU": 8.0, "memory": 64e9, "GPU": 1.0}]
    assert arranged(nodes, gpu=True) == Arrangement(1, 1, 600_000_000, 1.0)
    assert arranged(nodes, gpu=True, gpus=0.25) == Arrangement(4, 1, 600_000_000, 0.25)
    assert arranged(nodes, gpu=True, gpus=0.0)[:2] == (8, 1)


@pytest.mark.parametrize(
    ("wishes", "pattern"),
    [
        ({"workers": 5, "threads": 1}, "only 4 workers with 1 threads, 600 MB each fit on 4 cores"),
        ({"threads": 8}, "only 0 workers with 8 threads"),
        ({"memory": 9_000_000_000}, "only 0 workers with 1 threads, 9000 MB each"),
        ({"gpus": 1.0}, "1 GPUs each fit on 4 cores with 8000 MB; set --workers, "),
    ],
)
def test_what_does_not_fit_is_an_error(wishes, pattern):
    with pytest.raises(UsageError, match=pattern):
        arranged(LAPTOP, **wishes)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999", "[:1"]
)
def test_an_address_where_nothing_answers_is_an_error_at_once(address):
    with socket.socket() as bound:  # nobody listens, and nobody else takes the port
        bound.bind(("127.0.0.1", 0))
        address = address.format(bound.getsockname()[1])
        message = (
            rf"^--address {re.escape(address)}: no Ray cluster answers \(.*\); give the address"
        )
        with pytest.raises(NerEdgeError, match=message), ray_session(address):
            pass


def model_file(folder, content=b"model", **others) -> ModelFile:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return ModelFile.at(path)._replace(**others)


def test_a_model_that_is_here_is_used_where_it_lies(tmp_path):
    model = model_file(tmp_path)
    assert model.here() == tmp_path / "model.gguf"
    assert model.sha256 == hashlib.sha256(b"model").hexdigest()


@pytest.mark.parametrize("content", [b"other", b"longer than the model"])
def test_another_model_at_the_same_place_is_not_used(content, tmp_path):
    model = model_file(tmp_path)
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"model.gguf is missing or another model"):
        model.here()


def test_a_machine_receives_the_model_once(tmp_path, monkeypatch):
    received = []

    def get(reference):
        received.append(reference)
        return b"model"

    monkeypatch.setattr("ray.get", get)
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    model = model_file(tmp_path, content=b"model", path="/elsewhere/model.gguf")
    model = model._replace(content="reference")
    with ThreadPoolExecutor(4) as threads:
        paths = set(threads.map(lambda _: model.here(), range(4)))
    assert received == ["reference"]
    assert [path.read_bytes() for path in paths] == [b"model"]
    monkeypatch.setattr("ray.get", lambda reference: b"moder")
    (path,) = paths
    path.unlink()
    with pytest.raises(ModelError, match="was damaged on its way"):
        model.here()
    assert not path.exists()


def test_messages_and_names_do_not_show_keys_of_object_stores():
    location = Location("s3://key:secret@bucket/news/a.txt?access_key=secret&region=x")
    assert location.shown == "s3://bucket/news/a.txt"
    assert location.name == "a.txt"
    assert (
        location.child("b").url == "s3://key:secret@bucket/news/a.txt/b?access_key=secret&region=x"
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": ModelStamp("m", 1, "b", "v")}, "model"),
        ({"model": ModelStamp("m", 1, "a", "w")}, "version of the decoder"),
        ({"settings": Settings(min_score=0.5)}, "--min-score"),
        ({"settings": Settings(part_size=9)}, "--part-size"),
        ({"inputs": ["other"]}, "input"),
        ({"parts": ["other"]}, "input"),
    ],
)
def test_the_parts_of_another_run_are_refused(change, what):
    run_of: Any = {"model": ModelStamp("m", 1, "a", "v"), "settings": Settings()}
    run_of |= {"inputs": [], "parts": []}
    begun = Manifest(**run_of)
    begun.check_continues(begun, Location("out"))
    message = f"out: holds parts of a run with another {what}; give another folder"
    with pytest.raises(UsageError, match=f"^{message}$"):
        Manifest(**run_of | change).check_continues(begun, Location("out"))


@pytest.mark.parametrize("library", ["ray", "pyarrow"])
def test_without_the_extra_the_error_says_how_to_install_it(library, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("Ada\n")
    for name in [n for n in sys.modules if n.startswith("ner_edge.bulk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    if library == "ray":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("bulk", tmp_path / "a.txt", "--out", tmp_path / "out")
    assert_error(result, rf"^error: {library}.* is missing; .*'ner-edge\[ray\]'\n$", 2)
    assert not os.path.exists(tmp_path / "out")
