"""Write files that appear complete or not at all, and remove the remains of killed processes."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ner_edge.errors import NerEdgeError
from ner_edge.files.targets import behind_link, is_stream

try:
    import fcntl
except ImportError:  # Windows: without locks, no file is known to be abandoned
    fcntl = None  # type: ignore[assignment]

# Errors of file systems that have no locks.
_NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def atomic_path(
    target: Path,
    *,
    durable: bool = True,
    outdated: Iterable[Path] = (),
    scratch: Path | None = None,
) -> Iterator[Path]:
    """Yield a path beside `target`, renamed to `target` on success and removed on failure.

    The path is an empty file. If `durable`, the file is flushed to disk, so that it survives a
    power cut. The `outdated` files, which describe the previous content of `target`, are removed
    just before it is replaced. With `scratch`, a folder on the same disk, the path lies there, and
    the folder of `target` is not searched for the remains of killed processes. Raises
    `NerEdgeError` if the disk is full or the folder cannot be written.
    """
    temporary = _temporary(target if scratch is None else scratch / "file")
    try:
        if scratch is None:
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
    """Keep other processes from working on `path`, by a lock on a hidden file beside it.

    If another process holds the lock, waits for it if `wait`, else raises `NerEdgeError` with the
    message `busy`. The lock is released when its process ends, even if it is killed. File systems
    without locks give no protection.
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
    """Yield a new folder in `folder` for temporary files; it is removed at the end."""
    scratch = _temporary(folder / name)
    scratch.mkdir()
    try:
        with _locked(scratch):
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_abandoned(folder: Path, name: str) -> None:
    """Remove temporary files that killed processes left of `name` and names that begin with it."""
    pattern = re.compile(rf"\.{re.escape(name.lstrip('.'))}.*\.[0-9a-f]{{8}}\.part")
    for path in folder.iterdir():
        # A living writer holds a lock on the file.
        if pattern.fullmatch(path.name) and _is_unlocked(path):
            with suppress(OSError):  # it does no harm
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _temporary(target: Path) -> Path:
    # Hidden names, which may be temporary too, get the pattern that `remove_abandoned` looks for.
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
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only writable files
        try:
            if fcntl is None:
                return handle
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return handle
            # The previous holder may have removed the file that we opened; others lock a new one.
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
    """Make an output folder with its parents. Raises `NerEdgeError` on failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NerEdgeError(f"{folder}: cannot be created as a folder: {error.strerror}") from None


def disk_is_full(folder: Path) -> bool:
    """Whether a failed write was probably due to a full disk."""
    return shutil.disk_usage(folder).free < 1 << 24


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise `NerEdgeError` with both figures if the disk has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NerEdgeError(
            f"{folder}: needs about {needed / 1e9:.1f} GB of disk space; "
            f"{free / 1e9:.1f} GB are free"
        )


def open_stream(path: Path) -> BinaryIO:
    """Open a pipe or a device for writing; a pipe without a reader is an error, not a wait."""
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(handle, True)
    return os.fdopen(handle, "wb")


def write_text(text: str, target: str) -> None:
    """Write to a file, which appears complete or not at all, or into a stream.

    Links are followed. Streams are standard output (`-`), pipes and devices.
    """
    data = text.encode("utf-8", "backslashreplace")  # lone surrogates become escapes, as in JSON
    if target == "-":
        print(data.decode(), end="")
    elif is_stream(Path(target)):
        with open_stream(Path(target)) as stream:
            stream.write(data)
    else:
        with atomic_path(behind_link(Path(target))) as partial:
            partial.write_bytes(data)
