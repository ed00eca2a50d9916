"""Progress lines where standard error is not a terminal."""

import re

import pytest

from ner_edge.terminal import progress


@pytest.fixture
def every_update(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)


def test_a_log_gets_lines(every_update, capsys):
    with progress.progress_bar("training", 8) as update:
        for step in (1, 2, 4):
            update(step, note=f"loss {step}")
    out, err = capsys.readouterr()
    first, *_, last = err.splitlines()
    assert out == ""
    assert first == "training: 12%, loss 1"
    assert re.fullmatch(r"training: 50%, loss 4(, 0:00:\d\d left)?", last)


def test_also_where_the_end_is_not_known(every_update, capsys):
    with progress.progress_bar("tagging") as update:
        update(1)
        update(2, note="1.0 sentences/s")
    assert capsys.readouterr().err == "tagging: at work\ntagging: 1.0 sentences/s\n"


def test_quick_work_says_nothing(capsys):
    with progress.progress_bar("export", 2) as update:
        update(1)
        update(2)
    assert capsys.readouterr().err == ""


def test_hidden_work_says_nothing(every_update, capsys):
    with progress.progress_bar("training", 2, hidden=True) as update:
        update(1)
    assert capsys.readouterr().err == ""
