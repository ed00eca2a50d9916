"""A killed export leaves no wrong file under a final name, and the next export cleans up.

Exports are killed at random moments. Mistakes in the order of files are found by checking the
folder before each change to it.
"""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from exporting import export_model
from tiny_models import save_adapter, save_model

from ner_edge.export import pipeline
from ner_edge.export.describe.manifest import read_manifest
from ner_edge.export.describe.modelfile import modelfile_path, template
from ner_edge.export.quantize import find_recipes
from ner_edge.export.quantize.collect_imatrix import ImatrixData
from ner_edge.export.quantize.recipe import Recipe, read_recipe
from ner_edge.files.atomic import atomic_path, scratch_folder
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.gguf.metadata import describe
from ner_edge.task import Task

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and file locks")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    base = save_model(folder / "base", hidden_size=256, intermediate_size=512)
    return base, save_adapter(folder / "ner", base)


def visible(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def check_descriptions(folder):
    """Check that each file is complete, and that manifests, cards and Modelfiles describe it."""
    models = {path for path in folder.glob("*.gguf") if not path.stem.endswith("-imatrix")}
    for path in folder.glob("*.gguf"):
        GGUFFile(path)
    for path in folder.glob("*.toml"):
        read_recipe(path)
    for path in folder.glob("*.json"):
        model = path.with_suffix(".gguf")
        manifest = read_manifest(model)
        assert hashlib.sha256(model.read_bytes()).hexdigest() == manifest.sha256
        assert json.loads(path.read_text())["bytes"] == model.stat().st_size
    for path in folder.glob("*.Modelfile"):
        model = path.with_suffix(".gguf")
        assert template(describe(model).task) in path.read_text()
    for path in folder.glob("*.md"):
        card = path.read_text()
        for model in models:
            assert hashlib.sha256(model.read_bytes()).hexdigest() in card


def test_at_no_moment_a_file_is_described_that_is_not_there(model, tmp_path, monkeypatch):
    """A kill leaves the folder in the state of some moment, so every moment is checked: in a new
    folder, while files of the same names are replaced, and after a kill."""
    base, adapter = model
    out = tmp_path / "out"
    imatrix = Imatrix({"blk.0.ffn_up.weight": np.ones(256)}, {"blk.0.ffn_up.weight": 1}, "a.conll")
    recipe = Recipe("9mb", {"blk.0.ffn_up.weight": "q5_0"}, 1.0)
    monkeypatch.setattr(pipeline, "collect_imatrix", lambda *_, **__: imatrix)
    monkeypatch.setattr(find_recipes, "find_recipes", lambda *_, **__: [recipe])
    changes: list[tuple[str, str]] = []

    def watch(name):
        original = getattr(os, name)

        def watched(*arguments, **settings):
            path = Path(arguments[-1])
            if path.parent == out and not path.name.startswith("."):
                check_descriptions(out)
                moment = tmp_path / f"moment-{len(changes)}"
                shutil.copytree(out, moment, ignore=shutil.ignore_patterns(".*"))
                changes.append((name, path.name))
            return original(*arguments, **settings)

        monkeypatch.setattr(os, name, watched)

    watch("replace")
    watch("unlink")

    def export(label):
        changes.clear()
        for path in tmp_path.glob("moment-*"):
            shutil.rmtree(path)
        export_model(
            base,
            adapter,
            out,
            ["q8_0", "q4_0"],
            task=Task("t", {label: "x"}, f"Find each {label}."),
            imatrix=ImatrixData([], "a.conll"),
            sizes=[9_000_000],
            card=True,
            modelfile=True,
            threads=1,
        )
        check_descriptions(out)
        written = {name for change, name in changes if change == "replace"}
        assert written == visible(out)
        kinds = (".gguf", ".json", ".md", ".toml", ".Modelfile")
        assert {Path(name).suffix for name in written} == set(kinds)
        assert all(label in modelfile_path(path).read_text() for path in out.glob("*0.gguf"))

    export("OLD")
    export("NEW")
    for moment in (5, len(changes) // 2):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / f"moment-{moment}", out)
        export(f"NEXT{moment}")


@pytest.mark.parametrize(
    ("quants", "kills"),
    [(["f16", "q8_0"], 25), (["q4_0", "q4_k_m"], 10)],
    ids=["direct", "quantized"],
)
def test_killed_at_any_moment(quants, kills, model, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ner_edge.export.pipeline"])

    def start(out):
        process = processes.Process(target=export_model, args=(*model, out, quants))
        process.start()
        return process

    start(tmp_path / "first").join()  # starts the server too
    begun = time.monotonic()
    whole = start(tmp_path / "whole")
    whole.join()
    seconds = time.monotonic() - begun
    assert whole.exitcode == 0
    right = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert len(right) == 2 * len(quants), "each with its manifest"
    out = tmp_path / "out"
    out.mkdir()
    moments = random.Random(0)
    abandoned = 0
    for _ in range(kills):
        process = start(out)
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.join()
        check_descriptions(out)
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
        "import sys, time; from pathlib import Path\n"
        "from ner_edge.files.atomic import atomic_path\n"
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
