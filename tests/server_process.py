"""A real `ner-edge serve`, in a process of its own."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx


class ServerProcess:
    """Starts a server on a free port and waits until its models are loaded."""

    def __init__(self, *arguments: str | Path, ready: bool = True) -> None:
        command = [sys.executable, "-m", "ner_edge", "serve", "--port", "0", "--threads", "1"]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr
        self.first_line = self.process.stderr.readline()
        found = re.search(r"http://\S+", self.first_line)
        assert found, self.first_line + self.process.stderr.read()
        self.url = found[0]
        self.port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, timeout=60)
        while ready and self.client.get("/health").status_code != 200:
            time.sleep(0.02)

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON that answers a request."""
        return self.client.post(path, json=body).json()

    def metric(self, name: str) -> float:
        """Return the value of a metric, 0 if it was never counted."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.client.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for the end; returns the exit code and what else was logged."""
        assert self.process.stderr
        log = self.process.stderr.read()
        return self.process.wait(60), log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.client.close()
        self.process.kill()
        self.process.communicate()
