"""The models that a user would pick instead of ner-edge, in a child process and an environment
of their own."""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speeds import Turn

_SCRIPTS = Path(__file__).resolve().parent
_ENVIRONMENT = _SCRIPTS.parent / ".venv-peers"
_REQUIREMENTS = ("torch==2.13.0", "transformers==5.24.0", "onnx==1.23.2", "onnxruntime==1.32.0")


class Peers:
    """BERT-base and DistilBERT, which take turns over the same sentences.

    `tokens` are the tokens of each sentence. Call `close` to end the process.
    """

    def __init__(self, tokens: Sequence[int], threads: int) -> None:
        self._process = subprocess.Popen(
            [_python(), "-I", "-W", "ignore", _SCRIPTS / "bert_peers.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        print("Looking for the fastest setting of each peer ...", file=sys.stderr)
        self.settings = self._ask({"tokens": list(tokens), "threads": threads})
        """The fastest setting of each peer, by its name."""

    def turn(self, name: str, number: int, turns: int) -> Turn:
        """Let a peer tag its share of the sentences; all `turns` together tag each one once."""
        return Turn(**self._ask({"model": name, "turn": number, "turns": turns}))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            sys.exit("error: scripts/bert_peers.py failed; its messages are above")
        answer: dict[str, Any] = json.loads(reply)
        return answer


def _python() -> Path:
    """Return the Python of the peers' environment, which is made the first time."""
    python = _ENVIRONMENT / "bin" / "python"
    installed = _ENVIRONMENT / "installed.json"
    wanted = json.dumps(_REQUIREMENTS)
    if not installed.exists() or installed.read_text() != wanted:
        print(f"Installing {', '.join(_REQUIREMENTS)} into {_ENVIRONMENT} ...", file=sys.stderr)
        if not python.exists():
            venv.create(_ENVIRONMENT, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*command, *_REQUIREMENTS], stdout=sys.stderr, check=False).returncode:
            sys.exit("error: pip could not install the peers; its messages are above")
        installed.write_text(wanted)
    return python
