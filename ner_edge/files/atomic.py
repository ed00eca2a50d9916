"""Files that appear complete or not at all, and what a killed process left of them."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ner_edge.errors import NerEdgeError
from ner_edge.files.targets import behind_link, is_stream

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, so nothing is known to be abandoned
    fcntl = None  # type: ignore[assignment]

# What file systems without locks say to a request for one.
_NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def atomic_path(
    target: Path, *, durable: bool = True, outdated: Iterable[Path] = ()
) -> Iterator[Path]:
    """A path beside `target` to write to; renamed to `target` on success, removed on any failure.

    The empty file is there already. `durable` waits for the disk, so that it survives a power cut;
    what is only needed meanwhile does without. The files `outdated`, which describe what `target`
    held before, are removed just before it is replaced. Raises `NerEdgeError` if the disk is full
    or the place cannot be written.
    """
    temporary = _temporary(target)
    try:
        remove_abandoned(target.parent, target.name)
        temporary.touch(exist_ok=False)
        with _locked(temporary):
            yield temporary
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            for path in outdated:
                path.unlink(missing_ok=True)
            os.replace(temporary, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def exclusive(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of what is done with `path`, by a lock on a hidden file beside it.

    If another is at it, raises `NerEdgeError` saying `busy`, or with `wait` waits until it ends.
    The lock ends with its process, however that ends. File systems without locks keep nobody out.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        handle = _acquire(lock, wait)
    except BlockingIOError:
        raise NerEdgeError(busy) from None
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


@contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """A new folder in `folder` for files that are only needed meanwhile; removed at the end."""
    scratch = _temporary(folder / name)
    scratch.mkdir()
    try:
        with _locked(scratch):
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_abandoned(folder: Path, name: str) -> None:
    """Remove what a killed process left of `name` and of names that begin so."""
    pattern = re.compile(rf"\.{re.escape(name.lstrip('.'))}.*\.[0-9a-f]{{8}}\.part")
    for path in folder.iterdir():
        # Who writes it holds a lock on it, which ends with its process.
        if pattern.fullmatch(path.name) and _is_unlocked(path):
            with suppress(OSError):  # it is in nobody's way
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _temporary(target: Path) -> Path:
    # What is written for a hidden name, which may be a temporary one, is abandoned like the rest.
    return target.with_name(f".{target.name.lstrip('.')}.{secrets.token_hex(4)}.part")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _acquire(lock: Path, wait: bool) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what may be written
        try:
            if fcntl is None:
                return handle
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return handle
            # The holder before may have removed the file that we opened; others lock its successor.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), lock.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_unlocked(path: Path) -> bool:
    if fcntl is None:
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def _unwritable(target: Path, error: OSError) -> NerEdgeError:
    # numpy reports a short write without an error number
    full = error.errno == errno.ENOSPC or (error.errno is None and disk_is_full(target.parent))
    reason = "the disk is full" if full else error.strerror or str(error)
    return NerEdgeError(f"{target}: cannot be written: {reason}")


def make_folder(folder: Path) -> None:
    """Make an output folder with its parents. Raises `NerEdgeError` if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NerEdgeError(f"{folder}: cannot be created as a folder: {error.strerror}") from None


def disk_is_full(folder: Path) -> bool:
    """Is there so little room that who failed to write failed for that?"""
    return shutil.disk_usage(folder).free < 1 << 24


def check_disk_space(folder: Path, needed: int) -> None:
    """Raises `NerEdgeError` with both figures if `folder`'s disk has less than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NerEdgeError(
            f"{folder}: needs about {needed / 1e9:.1f} GB of disk space; "
            f"{free / 1e9:.1f} GB are free"
        )


def write_text(text: str, target: str) -> None:
    """Write to a file, which appears whole or not at all, to where a link leads, or into a stream:
    standard output for `-`, a pipe, a device."""
    data = text.encode("utf-8", "backslashreplace")  # in JSON, half a character as an escape
    if target == "-":
        print(data.decode(), end="")
    elif is_stream(Path(target)):
        # O_NONBLOCK: a pipe that nobody reads is an error, nothing to wait for.
        handle = os.open(target, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    else:
        with atomic_path(behind_link(Path(target))) as partial:
            partial.write_bytes(data)
