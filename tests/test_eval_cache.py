"""Predictions survive on disk, and damaged ones are never used."""

import errno
import os
import signal

import pytest

from ner_edge.errors import NerEdgeWarning
from ner_edge.eval.cost import Cost
from ner_edge.eval.measured_once import measured_once
from ner_edge.eval.predict import _content_hash
from ner_edge.eval.prediction_cache import Prediction, prediction_cache
from ner_edge.spans import ScoredSpan

KEY = {"model": "m", "data": "d", "decoder": "copy"}
FIRST = Prediction([ScoredSpan(0, 2, "PER", 0.5)], 0.25, timed_on="here: 2 threads")
SECOND = Prediction([], 0.5, [-1, "|", "PER]", 1, "changed"])
SINGLE = range(1, 10)


def write(folder, *predictions, key=KEY, blocks=SINGLE):
    with prediction_cache(folder, key, blocks) as (_, keep):
        for prediction in predictions:
            keep(prediction)


def read(folder, key=KEY, blocks=SINGLE):
    with prediction_cache(folder, key, blocks) as (done, _):
        return done


def test_what_was_kept_comes_back_equal(tmp_path):
    write(tmp_path / "new" / "folder", FIRST, SECOND)
    assert read(tmp_path / "new" / "folder") == [FIRST, SECOND]


def test_a_second_run_appends(tmp_path):
    write(tmp_path, FIRST)
    write(tmp_path, SECOND)
    assert read(tmp_path) == [FIRST, SECOND]


@pytest.mark.parametrize("part", ["model", "data", "decoder"])
def test_another_key_shares_nothing(tmp_path, part):
    write(tmp_path, FIRST)
    assert read(tmp_path, KEY | {part: "other"}) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b'{"sentence": 1, "spa', id="torn line"),
        pytest.param(b'{"sentence": 1, "spans": [], "seconds": 1}', id="no \\n"),
        pytest.param(b'{"sentence": 1, "spans": [], "seconds": 1, "output": 7}\n', id="no output"),
        pytest.param(b"\x00\xff\n", id="not text"),
        pytest.param(b"[]\n", id="not a record"),
        pytest.param(b'{"sentence": 0, "spans": [], "seconds": 1}\n', id="second writer"),
    ],
)
def test_damage_is_cut_off_and_the_next_append_is_sound(tmp_path, damage):
    write(tmp_path, FIRST)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + damage)
    assert read(tmp_path) == [FIRST]
    write(tmp_path, SECOND)
    assert read(tmp_path) == [FIRST, SECOND]


def test_only_whole_blocks_count_unless_all_is_there(tmp_path):
    write(tmp_path, FIRST, SECOND, FIRST)
    assert read(tmp_path, blocks=[1, 3]) == [FIRST, SECOND, FIRST]
    assert read(tmp_path, blocks=[2]) == [FIRST, SECOND, FIRST]
    assert read(tmp_path, blocks=[2, 4]) == [FIRST, SECOND]
    write(tmp_path, SECOND, SECOND, blocks=[2, 4])
    assert read(tmp_path, blocks=[2, 4]) == [FIRST, SECOND, SECOND, SECOND]
    assert read(tmp_path, blocks=[5]) == []


def test_every_prediction_is_on_disk_before_the_next(tmp_path):
    with prediction_cache(tmp_path, KEY, [1]) as (_, keep):
        keep(FIRST)
        (file,) = tmp_path.iterdir()
        assert file.read_bytes().endswith(b"\n")


def test_without_a_folder_nothing_is_kept():
    write(None, FIRST)
    assert read(None) == []


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    message = (
        f"^{folder}: predictions cannot be kept \\(Not a directory\\), so a killed run would "
        "start over; set NER_EDGE_CACHE to another folder, or use --no-cache$"
    )
    with pytest.warns(NerEdgeWarning, match=message):
        write(folder, FIRST)
    assert measured_once(folder, Cost, ["key"], lambda: Cost(1, 2.0)) == Cost(1, 2.0)


def test_what_is_there_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    write(tmp_path, FIRST)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.warns(NerEdgeWarning, match=r"cannot be kept \(Permission denied\)"):
        assert read(tmp_path) == [FIRST]


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_fills_up_ends_the_keeping_not_the_run(tmp_path):
    import resource

    write(tmp_path, FIRST)
    (file,) = tmp_path.iterdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, before[1]))
    try:
        with pytest.warns(NerEdgeWarning, match="predictions cannot be kept") as warnings:
            write(tmp_path, SECOND, FIRST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(warnings) == 1
    assert file.read_bytes().endswith(b"}\n"), "no torn line"
    assert read(tmp_path) == [FIRST]


def test_hash_of_a_file_and_of_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert _content_hash(tmp_path / "a") == expected
    before = _content_hash(tmp_path)
    assert before == _content_hash(tmp_path) != expected
    (tmp_path / "a").rename(tmp_path / "b")
    assert _content_hash(tmp_path) != before
