"""Download a wheel from the package index that pip is set up to use, without running pip."""

import configparser
import os
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import platformdirs

from ner_edge.errors import NerEdgeError
from ner_edge.terminal.progress import progress_bar

if TYPE_CHECKING:
    import requests

PYPI = "https://pypi.org/simple"
_TIMEOUT = (20.0, 60.0)  # seconds, to connect and between two blocks
_BLOCK = 1 << 18


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel of `name==version` into `folder` and return its path.

    The index is `PIP_INDEX_URL`, or `index-url` in pip's configuration files, or PyPI; pip's
    settings `cert` and `proxy` apply too. Raises `NerEdgeError` if the download fails. Source: the
    simple repository API, https://packaging.python.org/specifications/simple-repository-api/.
    """
    import requests

    index = _pip_setting("index-url") or PYPI
    name, _, version = requirement.partition("==")
    url = f"{index.rstrip('/')}/{name}/"
    try:
        with requests.Session() as session:
            page = _get(session, url)
            page.encoding = "utf-8"
            url = _wheel_url(page.text, page.url, name, version)
            # Without compression, so that Content-Length is the size of the file.
            with _get(session, url, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
                return _save(answer, folder / _file_name(url))
    # Errors of requests are OSErrors, but some malformed URLs raise a ValueError.
    except (OSError, ValueError) as error:
        raise NerEdgeError(_reason(url, error)) from error


def _get(session: "requests.Session", url: str, **options: Any) -> "requests.Response":
    proxy = _pip_setting("proxy")
    answer = session.get(
        url,
        timeout=_TIMEOUT,
        verify=_pip_setting("cert"),  # None: the environment's, else the usual authorities
        proxies={"http": proxy, "https": proxy} if proxy else None,
        **options,
    )
    answer.raise_for_status()
    return answer


def _save(answer: "requests.Response", path: Path) -> Path:
    size = int(answer.headers.get("Content-Length", 0)) or None
    with path.open("wb") as file, progress_bar("downloading", size) as update:
        for block in answer.iter_content(_BLOCK):
            file.write(block)
            update(file.tell())
    return path


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.urls += [value for key, value in attrs if key == "href" and value]


def _wheel_url(page: str, base: str, name: str, version: str) -> str:
    links = _Links()
    links.feed(page)
    start = f"{name.replace('-', '_')}-{version}-"
    for url in links.urls:
        if _file_name(url).startswith(start) and _file_name(url).endswith(".whl"):
            return urljoin(base, url)
    raise NerEdgeError(f"{_host(base)}: has no wheel of {name} {version}")


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _host(url: str) -> str:
    return urlsplit(url).hostname or url  # not the whole URL, which may hold a password


def _reason(url: str, error: OSError | ValueError) -> str:
    import requests

    match error:
        case requests.HTTPError(response=requests.Response() as answer):
            reason = f"HTTP {answer.status_code} {answer.reason}"
        case requests.Timeout():
            reason = "no answer"
        case requests.exceptions.SSLError():
            reason = "its certificate is not trusted; set PIP_CERT to that of your authority"
        case requests.exceptions.ProxyError():
            reason = "the proxy refused the connection"
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            reason = "the connection failed"
        case OSError(strerror=str(reason)):  # a full disk, a missing file of certificates
            return reason
        case _:
            reason = str(error)
    return f"{_host(url)}: {reason}"


def _pip_setting(name: str) -> str | None:
    """The environment's value, else that of pip's configuration files."""
    if value := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"):
        return value
    files = configparser.RawConfigParser()
    try:
        files.read(_pip_configuration_files(), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise NerEdgeError(f"pip's configuration cannot be read: {error}") from error
    return files.get("global", name, fallback=None)


def _pip_configuration_files() -> list[Path]:
    """Least important first, as in https://pip.pypa.io/en/stable/topics/configuration/."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    folders = [
        Path(platformdirs.site_config_dir("pip", appauthor=False)),
        Path("/etc"),
        Path.home() / ".pip",
        Path.home() / ".config" / "pip",
        Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True)),
        Path(sys.prefix),
    ]
    files = [folder / ("pip.ini" if os.name == "nt" else "pip.conf") for folder in folders]
    return [*files, Path(named)] if named else files
