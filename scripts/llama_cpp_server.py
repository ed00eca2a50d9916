"""The peer of `ner-edge serve`: llama-cpp-python's own server, with the sentence's grammar."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ner_edge.runtime.grammar import gbnf
from ner_edge.task import Task

_PROGRAM = """
import runpy
from ner_edge.runtime.amx import avoid_broken_amx
avoid_broken_amx()  # it crashes, see there
runpy.run_module("llama_cpp.server", run_name="__main__")
"""


@contextmanager
def llama_cpp_server(model: Path, threads: int) -> Iterator[str]:
    """Run the server until the end of the block; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = ["--model", str(model), "--port", str(port), "--n_ctx", "2048"]
    settings += ["--n_threads", str(threads), "--n_threads_batch", str(threads)]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *settings, "--verbose", "false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process)
        yield url
    finally:
        process.kill()
        process.communicate()


def completion_request(task: Task, words: Sequence[str]) -> dict[str, Any]:
    """Return what `ner-edge grammar --request` prints, in the terms of OpenAI's API.

    That server takes no prompt in tokens, so the prompt is text.
    """
    return {
        "prompt": task.prefix + " ".join(words) + task.suffix,
        "grammar": gbnf(words, list(task.labels)),
        "temperature": 0.0,
        "max_tokens": 1024,
    }


def _wait_until_ready(url: str, process: "subprocess.Popen[str]") -> None:
    while True:
        if process.poll() is not None:
            assert process.stderr
            last = process.stderr.read().strip().rpartition("\n")[2]
            sys.exit(f"error: llama_cpp.server: {last}; it needs llama-cpp-python[server]")
        try:
            httpx.get(f"{url}/v1/models")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
