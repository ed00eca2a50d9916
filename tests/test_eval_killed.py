"""An evaluation that is killed and started again ends like one that was not."""

import json
import os
import signal
import subprocess
import sys

import pytest
from command_line import run

WORDS = ["Zoe", "lives", "in", "Rome", "and", "Oslo", "with", "Kim", "Ada", "."]
SENTENCES = 60
BLOCK = 10

# `ner-edge` with arguments 2 on, which no code of ours can stop from dying, with half a line
# written, after as many sentences as argument 1 says.
DOOMED = f"""
import os, signal, sys
from ner_edge.cli.app import main
from ner_edge.eval import predict

predict.BLOCK = {BLOCK}
tag, left = predict._tag, int(sys.argv[1])

def until_killed(*arguments):
    global left
    for prediction in tag(*arguments):
        left -= 1
        if left < 0:
            (file,) = (f for f in os.scandir(os.environ["NER_EDGE_CACHE"] + "/predictions"))
            with open(file, "ab") as stream:
                stream.write(b'{{"sentence": 1')
            os.kill(os.getpid(), signal.SIGKILL)
        yield prediction

predict._tag = until_killed
main(sys.argv[2:])
"""


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "gold.conll"
    blocks = (
        "\n".join(f"{word} {'I-PER' if word in ('Zoe', 'Kim') else 'O'}" for word in words)
        for words in (WORDS[i % 7 :] + WORDS[: i % 5] for i in range(SENTENCES))
    )
    path.write_text("\n\n".join(blocks))
    return path


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_killed_twice(tiny, data, tmp_path, monkeypatch):
    arguments = ["eval", str(data), "-m", str(tiny.gguf), "--threads", "1", "--no-speed"]
    monkeypatch.setattr("ner_edge.eval.predict.BLOCK", BLOCK)

    def report_of(cache):
        """Without times, and what was noted."""
        monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / cache))
        result = run(*arguments, "--json", "-")
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        for model in report["models"]:
            for key in ("seconds", "sentences_per_second"):
                assert model.pop(key) > 0
        return report, result.stderr

    environment = os.environ | {"NER_EDGE_CACHE": str(tmp_path / "killed")}
    for sentences in (13, 23):
        command = [sys.executable, "-c", DOOMED, str(sentences), *arguments]
        killed = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b""), killed.stderr
    resumed, notes = report_of("killed")
    assert "30 of 60 predictions and their timing are from an earlier run" in notes
    unbroken, notes = report_of("unbroken")
    assert notes == ""
    assert resumed == unbroken
