"""Files of unexpected kinds, and hostile JSON and TOML."""

import os
import socket
import stat
import threading
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from ner_edge.errors import DataError, ModelError
from ner_edge.files import inputs
from ner_edge.files.inputs import encoding_of, open_input, read_input
from ner_edge.files.typed import parse_json, read_json, read_toml

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")


@pytest.fixture
def odd(tmp_path):
    """Things that are not regular files, by name."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipe", "is a pipe, not a file"),
        ("folder", "is a folder, not a file"),
        ("device", "is a device, not a file"),
        ("socket", r"cannot be read \("),
        ("loop", r"cannot be read \("),
        ("absent", "no such file"),
        ("nul\0", r"cannot be read \("),
    ],
)
@pytest.mark.parametrize("pipes", [False, True])
def test_what_is_no_file_is_refused_at_once(name, message, pipes, odd, monkeypatch):
    monkeypatch.setattr(inputs, "_PIPE_WAIT", 0.01)
    if name == "pipe" and pipes:
        message = "is a pipe to which nothing was written for"
    with pytest.raises(DataError, match=message):
        open_input(odd / name, pipes=pipes)


def test_a_named_pipe_is_read_to_its_end(odd):
    writer = threading.Thread(target=lambda: (odd / "pipe").write_bytes(b"a" * 100_000))
    writer.start()
    with open_input(odd / "pipe", pipes=True) as file:
        assert file.read() == b"a" * 100_000
    writer.join()


def test_a_pipe_without_a_name_may_be_slow(monkeypatch):
    """As with `<(command)`."""
    monkeypatch.setattr(inputs, "_PIPE_WAIT", 0.01)
    out, into = os.pipe()

    def write():
        os.write(into, b"late")
        os.close(into)

    timer = threading.Timer(0.1, write)
    timer.start()
    with open_input(Path(f"/dev/fd/{out}"), pipes=True) as file:
        assert file.read() == b"late"
    timer.join()
    os.close(out)


def test_nothing_is_read_beyond_its_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_input(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ModelError, match="a: is larger than"):
        read_input(tmp_path / "a", 4, error=ModelError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path):
    (tmp_path / "a").touch(mode=stat.S_IWUSR)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        open_input(tmp_path / "a")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_signature_names_the_encoding(encoding):
    data = "Zoë".encode(encoding)
    assert encoding_of(data[:4]) == encoding
    assert data.decode(encoding_of(data[:4])) == "Zoë"
    assert encoding_of(b"Zo") == "utf-8"


class Settings(msgspec.Struct):
    rank: Annotated[int, Meta(ge=1, le=8)]
    names: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"rank": 0}', "Expected `int` >= 1 at `rank`"),
        ('{"rank": "4"}', "Expected `int`, got `str` at `rank`"),
        ('{"rank": 4.0}', "Expected `int`, got `float` at `rank`"),
        ('{"rank": true}', "Expected `int`, got `bool` at `rank`"),
        ('{"rank": 1' + "0" * 400 + "}", "at `rank`"),
        ('{"rank": 4, "names": {"a": 1}}', "Expected `str`, got `int` at `names[...]`"),
        ("{}", "Object missing required field `rank`"),
        ("[]", "Expected `object`, got `array`"),
        ("[" * 100_000, ""),
        ('{"x": ' + "[" * 100_000, "nested too deeply"),
        ('{"rank": NaN}', "JSON is malformed"),
        ('{"rank": 4, "names": {"a": "\\ud800"}}', ""),
        ("", "Input data was truncated"),
    ],
    ids=range(13),
)
def test_json_is_what_it_should_be(text, reason, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        read_json(tmp_path / "a.json", Settings, "settings")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a.json'}: not settings (")
    assert reason in message
    assert "\n" not in message


def test_json_may_have_a_signature():
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        data = '{"rank": 4}'.encode(encoding)
        assert parse_json(data, Settings, "settings", "here") == Settings(4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rank = 0", "Expected `int` >= 1 at `rank`"),
        ("rank = 1" + "0" * 400, "at `rank`"),
        ("rank = 1" + "0" * 5000, "Exceeds the limit"),
        ("rank = " + "[" * 100_000, "nested too deeply"),
        (".".join("a" * 50_000) + " = 1", "a key has more than 32 parts"),
        ("rank = 4\n[" + ".".join(['"a"'] * 50_000) + "]", "a key has more than 32 parts"),
        ("rank = {" + ".".join("a" * 50_000) + " = 1}", "a key has more than 32 parts"),
        ("rank", "Expected '=' after a key"),
        ("rank = 4\nrank = 4", "Cannot overwrite a value"),
    ],
    ids=range(9),
)
def test_toml_is_what_it_should_be(text, reason, tmp_path):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(DataError) as caught:
        read_toml(tmp_path / "a.toml", Settings, "settings", error=DataError)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a.toml'}: not settings (")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_toml_may_hold_dots_and_signatures(encoding, tmp_path):
    text = 'rank = 4\n[names]\n"blk.0.x" = "' + "a.b " * 1000 + '....."\n'
    (tmp_path / "a.toml").write_bytes(text.encode(encoding))
    read = read_toml(tmp_path / "a.toml", Settings, "settings", error=DataError)
    assert read.names["blk.0.x"].endswith("a.b .....")
