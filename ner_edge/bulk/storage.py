"""Files on this machine and in object stores: whatever pyarrow's file systems know."""

import glob
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from pyarrow import fs

from ner_edge.errors import DataError, NerEdgeError, first_line
from ner_edge.files.atomic import (
    atomic_path,
    disk_is_full,
    exclusive,
    make_folder,
    remove_abandoned,
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BUFFER = 1 << 20  # bytes
_MAGIC = re.compile(r"[*?\[]")
_HIDDEN = (".", "_")


class Location(NamedTuple):
    """A file or folder: a path of this machine, or a URL such as `s3://bucket/news`."""

    url: str

    @property
    def is_local(self) -> bool:
        """Whether it is a path."""
        return not _URL.match(self.url)

    @property
    def shown(self) -> str:
        """The path or URL without user names, passwords and keys, for messages and manifests."""
        if self.is_local:
            return self.url
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def name(self) -> str:
        """Its name in its folder."""
        name = self.shown.rstrip("/").rpartition("/")[2]
        return name if self.is_local else unquote(name)

    def absolute(self) -> "Location":
        """Return it as other processes find it, whatever their working directory."""
        return Location(os.path.abspath(self.url)) if self.is_local else self

    def child(self, name: str) -> "Location":
        """Return a file in this folder."""
        if self.is_local:
            return Location(str(Path(self.url) / name))
        before, mark, options = self.url.partition("?")
        return Location(f"{before.rstrip('/')}/{quote(name)}{mark}{options}")

    def holds(self, other: "Location") -> bool:
        """Whether a file lies in this folder, at any depth."""
        mine, theirs = (
            os.path.realpath(location.url) if location.is_local else location.shown.rstrip("/")
            for location in (self, other)
        )
        return theirs.startswith(mine + "/")

    def info(self) -> Any:
        """Return pyarrow's `FileInfo`. Raises `DataError`."""
        with _errors(self):
            system, path = _system(self)
            return system.get_file_info(path)

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Yield the file, open for reading at any position. Raises `DataError`."""
        with _errors(self):
            system, path = _system(self)
            kind = system.get_file_info(path).type
            if kind == fs.FileType.NotFound:
                raise DataError(f"{self.shown}: no such file")
            if kind != fs.FileType.File:
                raise DataError(f"{self.shown}: is not a file")
            with io.BufferedReader(system.open_input_file(path), _BUFFER) as file:
                yield file

    def write(self, data: bytes) -> None:
        """Write a file, which appears complete or not at all. Raises `NerEdgeError`."""
        if self.is_local:
            with atomic_path(Path(self.url)) as partial:
                partial.write_bytes(data)
            return
        with _errors(self, "cannot be written", NerEdgeError):
            system, path = _system(self)
            # An object appears when its stream is closed; all of it is in this one write.
            with system.open_output_stream(path) as stream:
                stream.write(data)

    def make(self) -> None:
        """Make this folder, and remove what killed processes left in it. Raises `NerEdgeError`."""
        if self.is_local:
            make_folder(Path(self.url))
            remove_abandoned(Path(self.url), "")
            return
        with _errors(self, "cannot be created as a folder", NerEdgeError):
            system, path = _system(self)
            system.create_dir(path, recursive=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other runs on this machine from writing into this folder, if it is a path.

        Raises `NerEdgeError` if one is at work.
        """
        if not self.is_local:
            yield
            return
        with exclusive(Path(self.url) / "bulk", f"{self.url}: another ner-edge is writing into it"):
            yield

    def is_full(self) -> bool:
        """Whether this folder is on a full disk; an object store is none."""
        try:
            return self.is_local and disk_is_full(Path(self.url))
        except OSError:  # the folder is gone
            return False

    def names(self) -> set[str]:
        """Return the names in this folder; none if it does not exist. Raises `NerEdgeError`."""
        with _errors(self):
            system, path = _system(self)
            if system.get_file_info(path).type == fs.FileType.File:
                raise DataError(f"{self.shown}: is a file; give a folder")
            selector = fs.FileSelector(path, allow_not_found=True)
            return {info.base_name for info in system.get_file_info(selector)}


def find(pattern: str) -> list[Location]:
    """Return the files that a path, URL, folder or glob names, in order.

    Files and folders below a folder whose names begin with a dot or an underscore, such as
    manifests, are left out. Raises `DataError` if there is none.
    """
    location = Location(pattern)
    if location.is_local:
        found = (
            [pattern] if os.path.lexists(pattern) else sorted(glob.glob(pattern, recursive=True))
        )
        locations = [file for path in found for file in _files(Location(path))]
    else:
        locations = list(_matching(location) if _MAGIC.search(location.shown) else _files(location))
    if not locations:
        is_folder = location.info().type == fs.FileType.Directory
        raise DataError(f"{location.shown}: {'holds no file' if is_folder else 'no such file'}")
    return locations


def _files(location: Location) -> Iterator[Location]:
    if location.info().type != fs.FileType.Directory:
        yield location
        return
    yield from _below_path(location) if location.is_local else _below(location)


def _below_path(folder: Location) -> Iterator[Location]:
    """Yield the files below a folder. Links may lead in circles; each folder is read once."""
    files: list[str] = []
    seen: set[str] = set()
    with _errors(folder):
        for path, folders, names in os.walk(folder.url, onerror=_raise, followlinks=True):
            if (real := os.path.realpath(path)) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
            files += [os.path.join(path, n) for n in names if not n.startswith(_HIDDEN)]
    yield from map(Location, sorted(files))


def _raise(error: OSError) -> None:
    raise error


def _below(folder: Location) -> Iterator[Location]:
    with _errors(folder):
        system, root = _system(folder)
        infos = system.get_file_info(fs.FileSelector(root, recursive=True))
    for info in sorted(infos, key=lambda info: info.path):
        name = info.path[len(root) :].lstrip("/")
        hidden = any(part.startswith(_HIDDEN) for part in name.split("/"))
        if info.type == fs.FileType.File and not hidden:
            yield folder.child(name)


def _matching(pattern: Location) -> Iterator[Location]:
    before, mark, options = pattern.url.partition("?")
    fixed = before[: _MAGIC.search(before).start()].rpartition("/")[0]  # type: ignore[union-attr]
    folder = Location(f"{fixed}{mark}{options}")
    depth = pattern.shown.count("/")
    for file in _below(folder):
        same_depth = file.shown.count("/") == depth or "**" in pattern.shown
        if same_depth and fnmatchcase(unquote(file.shown), unquote(pattern.shown)):
            yield file


def _system(location: Location) -> tuple[Any, str]:
    if location.is_local:
        return fs.LocalFileSystem(), location.url
    system, path = fs.FileSystem.from_uri(location.url)
    return system, path


@contextmanager
def _errors(
    location: Location, problem: str = "cannot be read", kind: type[NerEdgeError] = DataError
) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError) as error:  # pyarrow's errors are one of these
        reason = getattr(error, "strerror", None) or first_line(error)
        if isinstance(error, UnicodeEncodeError):
            reason = "its name is not UTF-8"
        raise kind(f"{location.shown}: {problem} ({reason})") from None
