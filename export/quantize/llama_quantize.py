"""Quantize a 16- or 32-bit GGUF with llama.cpp, in a process of its own.

A process of its own, because a failed native assertion aborts the process it happens in, and
because Ctrl-C must end a native call that may run for an hour.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gguf import GGMLQuantizationType

from ner_edge.errors import NerEdgeError
from ner_edge.export.quantize.types import Quant
from ner_edge.files.atomic import disk_is_full
from ner_edge.gguf.imatrix import read_imatrix

_FACT_BYTES = 127  # of text that llama.cpp takes as metadata
_BUFFER_BYTES = 1 << 30  # of tensor rows held at once; llama.cpp's default is 8 GiB


def quantizing_bytes(largest_tensor: int) -> int:
    """About the memory that quantizing takes, if the largest tensor has so many weights."""
    return min(_BUFFER_BYTES, 7 * largest_tensor)  # 16 bits, 32, and the result


def quantize(
    source: Path,
    target: Path,
    quant: Quant,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    imatrix: Path | None = None,
    types: Mapping[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write the file `target` from `source` at a level that llama.cpp makes; metadata is kept.

    The rounding is weighted by the importance matrix in the file `imatrix`. `types` names a type
    for some tensors (`"blk.0.attn_q.weight": "q5_0"`); the others have what the level gives them.
    `facts`, of at most 127 bytes each, are added to the metadata.
    `progress` gets tensors done and in all. Raises `NerEdgeError` with llama.cpp's last words if it
    fails; then `target` is not whole.
    """
    job = _Job(
        str(source),
        str(target),
        quant.file_type,
        threads or 0,
        str(imatrix) if imatrix else None,
        {name: GGMLQuantizationType[kind.upper()] for name, kind in (types or {}).items()},
        dict(facts or {}),
    )
    process = subprocess.Popen(
        # -P: what lies in the working directory is not to be imported.
        [sys.executable, "-P", "-m", "ner_edge.export.quantize.llama_quantize"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last_words = ""
    try:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(job))
        for line in process.stdout:
            if match := re.match(r"\[ *(\d+)/ *(\d+)\]", line):
                progress(int(match[1]), int(match[2]))
            elif line.strip():
                last_words = line.strip()
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    if code != 0 or not target.stat().st_size:
        reason = "the disk is full" if disk_is_full(target.parent) else last_words
        raise NerEdgeError(f"{target}: llama.cpp cannot quantize to {quant.name}: {reason}")


class _Job(NamedTuple):
    """What the process of its own is to do."""

    source: str
    target: str
    file_type: int
    threads: int
    imatrix: str | None
    types: dict[str, int]
    facts: dict[str, str]


def _quantize_here(job: _Job) -> int:
    import llama_cpp.llama_cpp as native

    def print_log(level: int, text: bytes, _data: object) -> None:
        try:
            print(text.decode("utf-8", "replace"), end="", flush=True)
        except OSError:  # our parent was killed: nobody waits for the file
            os._exit(1)

    callback = native.llama_log_callback(print_log)  # must outlive the call
    native.llama_log_set(callback, ctypes.c_void_p(0))
    parameters = native.llama_model_quantize_default_params()
    parameters.ftype = job.file_type
    parameters.nthread = job.threads
    parameters.max_buf_size = _BUFFER_BYTES
    if job.imatrix:
        parameters.imatrix = _importances(Path(job.imatrix))
    # Patterns are regular expressions, searched; the list ends with an empty one.
    patterns = (native.llama_model_tensor_override * (len(job.types) + 1))()
    for entry, (name, kind) in zip(patterns, job.types.items(), strict=False):
        entry.pattern, entry.type = f"^{re.escape(name)}$".encode(), kind
    parameters.tt_overrides = patterns
    parameters.kv_overrides = _facts(job.facts)
    return int(
        native.llama_model_quantize(
            os.fsencode(job.source), os.fsencode(job.target), ctypes.byref(parameters)
        )
    )


def _importances(path: Path) -> Any:
    import llama_cpp.llama_cpp as native

    imatrix = read_imatrix(path)
    entries = (native.llama_model_imatrix_data * (len(imatrix.sums) + 1))()
    for entry, name in zip(entries, imatrix.sums, strict=False):
        means = imatrix.means(name)
        assert means is not None
        entry.name, entry.size = name.encode(), len(means)
        entry.data = (ctypes.c_float * len(means))(*means)
    return entries


def _facts(facts: Mapping[str, str]) -> Any:
    import llama_cpp.llama_cpp as native

    entries = (native.llama_model_kv_override * (len(facts) + 1))()  # ends with an empty key
    for entry, (key, text) in zip(entries, facts.items(), strict=False):
        entry.tag = native.LLAMA_KV_OVERRIDE_TYPE_STR
        entry.key = key.encode()
        entry.value.val_str = text.encode()[:_FACT_BYTES]
    return entries


if __name__ == "__main__":
    sys.exit(_quantize_here(_Job(*json.load(sys.stdin))))
