"""The first load of a model file is tried in a process of its own.

llama.cpp trusts its input: a file that contradicts itself can end the process. What is known to do
so is checked before (`gguf_model`); what is not ends only the child. A file that passed is
remembered, in the cache, by its SHA-256.
"""

import hashlib
import os
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

_CHECKS = 1  # to be raised when they become stricter: then every file is tried again
_SECONDS = 12  # and one more for each of so many bytes:
_BYTES_PER_SECOND = 20_000_000
_STARTED = b"trial of a model"
_TEXT = "Ada Lovelace met Charles Babbage in London in 1833 . naïve 東京 😀 [ ] | <|im_end|>"


def ensure_loadable(path: Path, sha256: str | None = None) -> None:
    """Check a GGUF and try it in a child process, unless this very file is known to load.

    `sha256` spares reading it again where it is known. Raises `ModelError` if llama.cpp cannot run
    the file.
    """
    seen = _marker(_identity(path))
    if seen and seen.exists():
        return
    check_model(GGUFFile(path))
    passed = _marker(sha256 or sha256_of(path))
    if not (passed and passed.exists()) and not _try(path):
        return
    for marker in (passed, None if sha256 else seen):  # the path of a known hash is temporary
        if marker:
            with suppress(OSError):  # then it is tried again
                marker.touch()


def _try(path: Path) -> bool:
    """Has the child loaded the file? False if it could not be started."""
    limit = _SECONDS + path.stat().st_size / _BYTES_PER_SECOND
    # -P: what lies in the working directory is not to be imported.
    command = [sys.executable, "-P", "-m", "ner_edge.runtime.trial", str(path)]
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}  # or gdb is started, which says much
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            check=False,
            env=environment,
        )
    except OSError:
        return False
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{path}: llama.cpp did not finish loading it within {limit:.0f} seconds; "
            "the file may be damaged"
        ) from None
    if _STARTED not in child.stdout:
        return False  # as where Python is part of another program
    if child.returncode == 0:
        return True
    lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
    if child.returncode == 1 and lines and lines[-1].startswith("error: "):
        said = lines[-1].removeprefix("error: ")
        raise ModelError(said if str(path) in said else f"{path}: {said}")
    lines = [*lines, f"exit code {child.returncode}"]
    reason = next((line for line in lines if "ASSERT" in line or "what():" in line), lines[0])
    raise ModelError(
        f"{path}: llama.cpp crashes when it loads this file ({reason.strip()}); "
        "fetch or export it again"
    )


def _run(path: Path) -> None:
    """Load the file as a tagger does, and use all that a tagger uses."""
    from ner_edge.runtime.head import OutputHead
    from ner_edge.runtime.llama import LlamaModel, Run

    model = LlamaModel(
        path, context=256, sequences=2, gpu_layers=0, head=OutputHead(GGUFFile(path)), tried=True
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
    """Of a file as it lies on the disk; a change to it changes its ctime, which nobody sets."""
    facts = path.stat()
    times = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return f"{os.path.realpath(path)} {times}"


def _marker(name: str) -> Path | None:
    """The file in the cache whose presence says that what `name` tells apart has passed; None
    without a cache."""
    text = f"{name} {_CHECKS} {llama_cpp.__version__}"
    try:
        folder = cache_folder("loadable")
    except NerEdgeError:
        return None
    return folder / hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


if __name__ == "__main__":
    print(_STARTED.decode(), flush=True)
    try:
        _run(Path(sys.argv[1]))
    except NerEdgeError as problem:
        sys.exit(f"error: {problem}")
