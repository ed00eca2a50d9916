"""Try the first load of a model file in a child process.

llama.cpp trusts its input, so a file that contradicts itself can end the process. `gguf.check`
rejects the known contradictions; any other ends only the child. The cache remembers the SHA-256 of
files that passed.
"""

import hashlib
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import llama_cpp

from ner_edge.errors import ModelError, NerEdgeError
from ner_edge.files.cache import cache_folder
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.check import check_model
from ner_edge.gguf.file import GGUFFile

_CHECKS = 1  # increment it when the checks become stricter, so that every file is tried again
_SECONDS = 12  # of processor time, plus the file's size divided by:
_BYTES_PER_SECOND = 20_000_000
_WALL = 5  # times as many seconds by the clock, since other programs may keep the processors busy
_STARTED = b"trial of a model"
_TEXT = "Ada Lovelace met Charles Babbage in London in 1833 . naïve 東京 😀 [ ] | <|im_end|>"


def ensure_loadable(path: Path, sha256: str | None = None) -> None:
    """Check a GGUF and load it in a child process, unless this file is known to load.

    Pass `sha256` if it is known, to save reading the file once more. Raises `ModelError` if
    llama.cpp cannot run the file.
    """
    seen = _marker(_identity(path))
    if seen and seen.exists():
        return
    check_model(GGUFFile(path))
    passed = _marker(sha256 or sha256_of(path))
    if not (passed and passed.exists()) and not _try(path):
        return
    for marker in (passed, None if sha256 else seen):  # with a known hash, the path is temporary
        if marker:
            with suppress(OSError):  # the file is then tried again
                marker.touch()


def _try(path: Path) -> bool:
    """Load the file in a child process. Returns False if no child could be started.

    Raises `ModelError` if the child failed.
    """
    limit = math.ceil(_SECONDS + path.stat().st_size / _BYTES_PER_SECOND)
    try:
        child = _start_child(path, limit)
    except OSError:
        return False
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{path}: llama.cpp did not load it within {limit * _WALL} seconds; the machine may be "
            "too busy, so try again; if this recurs, fetch or export the file again"
        ) from None
    if _STARTED not in child.stdout:
        return False  # `sys.executable` is another program, in which Python is embedded
    if hasattr(signal, "SIGXCPU") and child.returncode == -signal.SIGXCPU:
        raise ModelError(
            f"{path}: llama.cpp did not load it within {limit} seconds of processor time; "
            "the file may be damaged: fetch or export it again"
        )
    if child.returncode != 0:
        raise ModelError(_failure(path, child))
    return True


def _start_child(path: Path, limit: int) -> subprocess.CompletedProcess[bytes]:
    # -P: never import from the working directory.
    command = [sys.executable, "-P", "-m", "ner_edge.runtime.trial", str(path), str(limit)]
    # Without GGML_NO_BACKTRACE, a crash starts gdb, which prints pages.
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=limit * _WALL,
        check=False,
        env=environment,
    )


def _failure(path: Path, child: subprocess.CompletedProcess[bytes]) -> str:
    lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
    if child.returncode == 1 and lines and lines[-1].startswith("error: "):
        message = lines[-1].removeprefix("error: ")
        return message if str(path) in message else f"{path}: {message}"
    lines = [*lines, f"exit code {child.returncode}"]
    reason = next((line for line in lines if "ASSERT" in line or "what():" in line), lines[0])
    return (
        f"{path}: llama.cpp crashes when it loads this file ({reason.strip()}); "
        "fetch or export it again"
    )


def _run(path: Path) -> None:
    """Load the file and use it in every way that a tagger does."""
    from ner_edge.runtime.batch import Run
    from ner_edge.runtime.head import OutputHead
    from ner_edge.runtime.llama import LlamaModel

    model = LlamaModel(
        path,
        context=256,
        sequences=2,
        threads=1,  # so that processor time does not depend on the number of cores
        gpu_layers=0,
        head=OutputHead(GGUFFile(path)),
        tried=True,
    )
    for token in range(model.vocabulary_size):
        model.piece(token)
    tokens = model.tokenize(_TEXT, start=True)[:64] + model.tokenize("<|im_end|>", special=True)
    model.decode([Run(0, 0, tokens[:-1], [len(tokens) - 2])], whole=True)
    model.check_head(len(tokens) - 2)
    model.share(0, 1)
    (rows,) = model.decode([Run(1, len(tokens) - 1, tokens[-1:], [0])])
    model.logits(rows[0], tokens)
    model.close()


def _identity(path: Path) -> str:
    # Every change to a file changes its ctime, which programs cannot set.
    status = path.stat()
    times = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return f"{os.path.realpath(path)} {times}"


def _marker(name: str) -> Path | None:
    """Return the file that marks `name` as passed in the cache; None without a writable cache."""
    text = f"{name} {_CHECKS} {llama_cpp.__version__}"
    try:
        folder = cache_folder("loadable")
    except NerEdgeError:
        return None
    return folder / hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _limit_processor_time(seconds: int) -> None:
    try:
        import resource
    except ImportError:  # Windows; the parent's limit must do
        return
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    with suppress(ValueError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))


def _main(path: str, limit: str) -> None:
    print(_STARTED.decode(), flush=True)
    _limit_processor_time(int(limit))
    try:
        _run(Path(path))
    except NerEdgeError as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
