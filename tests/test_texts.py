"""Every line of every file is read exactly once, whatever its encoding."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.data.texts import check_readable, read_texts
from ner_edge.errors import DataError

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"]


def read(path: Path) -> tuple[list[str], list[str], int]:
    """Return the texts, the warnings, and the number of bytes."""
    warnings: list[str] = []
    sizes: list[int] = []
    texts = list(read_texts([path], warnings.append, sizes.append))
    return texts, warnings, sum(sizes)


def encoded(text: str, encoding: str) -> bytes:
    return ("\ufeff" + text if encoding.endswith("-be") else text).encode(encoding)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(ENCODINGS))
def test_signatures_name_the_encoding(
    tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str
) -> None:
    text = text.removeprefix("\ufeff")
    path = tmp_path_factory.mktemp("texts") / "text"
    path.write_bytes(encoded(text, encoding))
    lines = text.removesuffix("\n").split("\n") if text else []
    expected = [line.removesuffix("\r") for line in lines]
    assert read(path) == (expected, [], path.stat().st_size)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_newlines_are_characters_not_bytes(tmp_path: Path, encoding: str) -> None:
    lines = ["\u010a\u0a0a\u0a00\u0a41", "", "\U0001000a", "x" * 70_000, "last\u010a"]
    (tmp_path / "text").write_bytes(encoded("\r\n".join(lines), encoding))
    assert read(tmp_path / "text")[:2] == (lines, [])


@pytest.mark.parametrize(
    ("content", "texts", "problem"),
    [
        (b"a\n\nZo\xe9\n\xe8\n", ["a", "", "Zo\ufffd", "\ufffd"], "3: not UTF-8 (byte 0xe9)"),
        (b"\xef\xbb\xbfa\xff", ["a\ufffd"], "1: not UTF-8 (byte 0xff)"),
        (b"\xff\xfea\0\n\0\x41\xd8b\0", ["a", "\ufffdb"], "2: not UTF-16 (byte 0x41)"),
        (b"\xff\xfea\0b", ["a\ufffd"], "1: not UTF-16 (byte 0x62)"),
    ],
)
def test_broken_bytes_are_named_once(
    tmp_path: Path, content: bytes, texts: list[str], problem: str
) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    warning = f"{path}:{problem}; invalid bytes are read as \ufffd"
    assert read(path) == (texts, [warning], len(content))


def test_pipes_are_opened_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=(b"one\ntwo",))
    writer.start()
    assert check_readable([path]) is None
    assert read(path) == (["one", "two"], [], 7)
    writer.join()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_lines_of_a_pipe_arrive_as_they_are_written(name: str) -> None:
    program = (
        "from pathlib import Path\n"
        "from ner_edge.data.texts import *\n"
        f"paths = [Path({name!r})]\n"
        "print(check_readable(paths), flush=True)\n"
        "for text in read_texts(paths, print, id): print(repr(text), flush=True)"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "None\n"
        for text in ("a", "b"):
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"'{text}'\n"
        process.stdin.close()


def test_sizes_are_known_before_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert check_readable([tmp_path / "a", tmp_path / "a"]) == 6
    assert check_readable([tmp_path / "a", Path("-")]) is None
    with pytest.raises(DataError, match="is a device, not a file"):
        check_readable([Path("/dev/zero")])
