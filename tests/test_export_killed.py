"""An export that is killed leaves no wrong file under a final name, and the next one mends it."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from tiny_models import save_adapter, save_model

from ner_edge.atomic import atomic_path, scratch_folder
from ner_edge.export.pipeline import export_model

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and file locks")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    base = save_model(folder / "base", hidden_size=256, intermediate_size=512)
    return base, save_adapter(folder / "ner", base)


@pytest.mark.parametrize(
    ("levels", "kills"), [(["f16", "q8_0"], 25), (["q4_0", "q4_k_m"], 10)], ids=["direct", "native"]
)
def test_killed_at_any_moment(levels, kills, model, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ner_edge.export.pipeline"])

    def start(out):
        process = processes.Process(target=export_model, args=(*model, out, levels))
        process.start()
        return process

    start(tmp_path / "first").join()  # starts the server too
    begun = time.monotonic()
    whole = start(tmp_path / "whole")
    whole.join()
    seconds = time.monotonic() - begun
    assert whole.exitcode == 0
    right = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert len(right) == len(levels)
    out = tmp_path / "out"
    out.mkdir()
    moments = random.Random(0)
    abandoned = 0
    for _ in range(kills):
        process = start(out)
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.join()
        for path in out.iterdir():
            if not path.name.startswith("."):
                assert path.read_bytes() == right[path.name]
                path.unlink()
            else:
                abandoned += 1
    again = start(out)
    again.join()
    assert again.exitcode == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == right
    assert abandoned, "it was killed while it wrote"


def test_what_is_still_written_is_not_removed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from ner_edge.atomic import atomic_path\n"
        "with atomic_path(Path(sys.argv[1]) / 'm.gguf') as path:\n"
        "    path.write_text('theirs'); print('now', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"now\n"
        with atomic_path(tmp_path / "m.gguf") as path:
            path.write_text("ours")
        hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        assert [path.read_text() for path in hidden] == ["theirs"]
        other.send_signal(signal.SIGKILL)
    with atomic_path(tmp_path / "m.gguf"), scratch_folder(tmp_path, "m") as scratch:
        (scratch / "a").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]
