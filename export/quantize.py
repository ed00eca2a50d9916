"""Quantize a 16- or 32-bit GGUF with llama.cpp, in a process of its own.

A process of its own, because a failed native assertion aborts the process it happens in, and
because Ctrl-C must end a native call that may run for an hour.
"""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ner_edge.atomic import atomic_path, disk_is_full
from ner_edge.errors import NerEdgeError
from ner_edge.export.quants import Quant

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
) -> None:
    """Write `target` from `source` at a level that llama.cpp makes; metadata is kept.

    `progress` gets tensors done and in all. Raises `NerEdgeError` with llama.cpp's last words if it
    fails; then `target` does not appear.
    """
    with atomic_path(target) as temporary:
        command = [sys.executable, "-m", "ner_edge.export.quantize"]
        arguments = [str(source), str(temporary), str(quant.file_type), str(threads or 0)]
        process = subprocess.Popen(
            command + arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        last_words = ""
        try:
            for line in process.stdout:
                if match := re.match(r"\[ *(\d+)/ *(\d+)\]", line):
                    progress(int(match[1]), int(match[2]))
                elif line.strip():
                    last_words = line.strip()
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        if code != 0 or not temporary.stat().st_size:
            reason = "the disk is full" if disk_is_full(target.parent) else last_words
            raise NerEdgeError(f"{target}: llama.cpp cannot quantize to {quant.name}: {reason}")


def _quantize_here(source: str, target: str, file_type: int, threads: int) -> int:
    import llama_cpp.llama_cpp as native

    def print_log(level: int, text: bytes, _data: object) -> None:
        try:
            print(text.decode("utf-8", "replace"), end="", flush=True)
        except OSError:  # our parent was killed: nobody waits for the file
            os._exit(1)

    callback = native.llama_log_callback(print_log)  # must outlive the call
    native.llama_log_set(callback, ctypes.c_void_p(0))
    parameters = native.llama_model_quantize_default_params()
    parameters.ftype = file_type
    parameters.nthread = threads
    parameters.max_buf_size = _BUFFER_BYTES
    return int(
        native.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    )


if __name__ == "__main__":
    sys.exit(_quantize_here(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
