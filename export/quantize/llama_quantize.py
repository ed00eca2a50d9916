"""Quantize a 16- or 32-bit GGUF with llama.cpp, in a child process.

In a child process, a failed native assertion aborts only the child, and Ctrl-C can end a native
call that may run for an hour.
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

_METADATA_BYTES = 127  # llama.cpp's limit for a text value
_BUFFER_BYTES = 1 << 30  # of tensor rows held at once; llama.cpp's default is 8 GiB


def quantizing_bytes(largest_tensor: int) -> int:
    """Estimate the memory that quantizing takes, in bytes, from the largest tensor's weights."""
    return min(_BUFFER_BYTES, 7 * largest_tensor)  # in 16 bits, in 32, and the result


def quantize(
    source: Path,
    target: Path,
    quant: Quant,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    imatrix: Path | None = None,
    tensor_types: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Quantize `source` to `target` with `llama_model_quantize`; the metadata is copied.

    The file `imatrix` holds an importance matrix to weight the rounding errors by. `tensor_types`
    overrides the type of single tensors (`"blk.0.attn_q.weight": "q5_0"`). `metadata` is added to
    the copied metadata, with values of at most 127 bytes. `progress` gets the tensors done and
    their total. Raises `NerEdgeError` with llama.cpp's last message if it fails, and leaves an
    incomplete `target`.
    """
    types = {
        name: int(GGMLQuantizationType[kind.upper()]) for name, kind in (tensor_types or {}).items()
    }
    job = _Job(
        str(source),
        str(target),
        quant.file_type,
        threads or 0,
        str(imatrix) if imatrix else None,
        types,
        dict(metadata or {}),
    )
    code, last_message = _run_child(job, progress)
    if code != 0 or not target.stat().st_size:
        reason = "the disk is full" if disk_is_full(target.parent) else last_message
        raise NerEdgeError(f"{target}: llama.cpp cannot quantize to {quant.name}: {reason}")


class _Job(NamedTuple):
    """The child process's task, sent as JSON."""

    source: str
    target: str
    file_type: int
    threads: int
    imatrix: str | None
    tensor_types: dict[str, int]
    metadata: dict[str, str]


def _run_child(job: _Job, progress: Callable[[int, int], None]) -> tuple[int, str]:
    """The child's exit code and the last line it printed."""
    process = subprocess.Popen(
        # -P keeps modules in the working directory from being imported.
        [sys.executable, "-P", "-m", "ner_edge.export.quantize.llama_quantize"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last_line = ""
    try:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(job))
        for line in process.stdout:
            if match := re.match(r"\[ *(\d+)/ *(\d+)\]", line):
                progress(int(match[1]), int(match[2]))
            elif line.strip():
                last_line = line.strip()
        return process.wait(), last_line
    finally:
        process.kill()
        process.wait()


def _quantize_here(job: _Job) -> int:
    import llama_cpp.llama_cpp as native

    def print_log(level: int, text: bytes, _data: object) -> None:
        try:
            print(text.decode("utf-8", "replace"), end="", flush=True)
        except OSError:  # the parent was killed, so nobody waits for the file
            os._exit(1)

    callback = native.llama_log_callback(print_log)  # must outlive the call
    native.llama_log_set(callback, ctypes.c_void_p(0))
    parameters = native.llama_model_quantize_default_params()
    parameters.ftype = job.file_type
    parameters.nthread = job.threads
    parameters.max_buf_size = _BUFFER_BYTES
    if job.imatrix:
        parameters.imatrix = _native_imatrix(Path(job.imatrix))
    parameters.tt_overrides = _native_tensor_types(job.tensor_types)
    parameters.kv_overrides = _native_metadata(job.metadata)
    return int(
        native.llama_model_quantize(
            os.fsencode(job.source), os.fsencode(job.target), ctypes.byref(parameters)
        )
    )


def _native_imatrix(path: Path) -> Any:
    import llama_cpp.llama_cpp as native

    imatrix = read_imatrix(path)
    entries = (native.llama_model_imatrix_data * (len(imatrix.sums) + 1))()  # ends with NULL
    for entry, name in zip(entries, imatrix.sums, strict=False):
        means = imatrix.means(name)
        assert means is not None
        entry.name, entry.size = name.encode(), len(means)
        entry.data = (ctypes.c_float * len(means))(*means)
    return entries


def _native_tensor_types(tensor_types: Mapping[str, int]) -> Any:
    """llama.cpp searches for regular expressions, so names are escaped and anchored."""
    import llama_cpp.llama_cpp as native

    entries = (native.llama_model_tensor_override * (len(tensor_types) + 1))()  # ends with NULL
    for entry, (name, kind) in zip(entries, tensor_types.items(), strict=False):
        entry.pattern, entry.type = f"^{re.escape(name)}$".encode(), kind
    return entries


def _native_metadata(metadata: Mapping[str, str]) -> Any:
    import llama_cpp.llama_cpp as native

    entries = (native.llama_model_kv_override * (len(metadata) + 1))()  # ends with an empty key
    for entry, (key, text) in zip(entries, metadata.items(), strict=False):
        entry.tag = native.LLAMA_KV_OVERRIDE_TYPE_STR
        entry.key = key.encode()
        entry.value.val_str = text.encode()[:_METADATA_BYTES]
    return entries


if __name__ == "__main__":
    sys.exit(_quantize_here(_Job(*json.load(sys.stdin))))
