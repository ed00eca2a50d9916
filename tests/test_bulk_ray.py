"""Bulk on Ray: on this machine, and on a cluster whose workers, node and driver are killed.

The tests on a cluster take more than a minute, and run with `scripts/test --cluster` only.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bulk_driver import run_sleeping
from bulk_parts import rows_in
from command_line import assert_error, run, run_ok
from ray_cluster import local_cluster, parts_in

from ner_edge.tagger import Tagger

TESTS = Path(__file__).parent
SECONDS = "0.02"  # per text
PART_SIZE = 5


@pytest.fixture(scope="module")
def cluster(request):
    if not request.config.getoption("--cluster", False):
        pytest.skip("needs --cluster")
    search = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, search)))
        with local_cluster(3) as cluster:
            yield cluster


def texts_file(folder: Path, count: int) -> tuple[Path, list[str]]:
    texts = [f"Ada wrote letter {number}." for number in range(count)]
    path = folder / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in texts))
    return path, texts


def start_driver(cluster, path: Path, out: Path) -> "subprocess.Popen[str]":
    arguments = [out, cluster.address, SECONDS, PART_SIZE, 0, path]
    command = [sys.executable, TESTS / "bulk_driver.py", *arguments]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_parts(out: Path, count: int, driver: "subprocess.Popen[str]") -> None:
    while len(parts_in(out)) < count:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)


def test_a_killed_driver_worker_and_node_cost_nothing_but_time(cluster, tmp_path):
    path, texts = texts_file(tmp_path, 450)
    out = tmp_path / "out"
    driver = start_driver(cluster, path, out)
    wait_for_parts(out, 5, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("[!_.]*")}

    driver = start_driver(cluster, path, out)
    wait_for_parts(out, len(before) + 3, driver)
    while not cluster.kill_worker(0):
        assert driver.poll() is None
    wait_for_parts(out, len(before) + 8, driver)
    cluster.remove_node()
    stdout, stderr = driver.communicate()
    assert driver.returncode == 0, stderr
    assert stderr == ""
    result = json.loads(stdout)
    assert (result["texts"], result["failed"]) == (len(texts), 0)
    assert result["made"] <= len(texts) - PART_SIZE * len(before)
    assert [row["text"] for row in rows_in(out)] == texts
    assert all(len(row["entities"]) == 1 for row in rows_in(out))
    assert {n: (out / n).stat().st_mtime_ns for n in before} == before
    manifest = json.loads((out / "_manifest.json").read_text())
    assert manifest["done"] == {"texts": len(texts), "entities": len(texts), "failed": 0}
    assert [name for name in os.listdir(out) if name.startswith(".")] == []


def test_an_interrupt_ends_a_run_and_leaves_whole_parts(cluster, tmp_path):
    path, texts = texts_file(tmp_path, 5000)
    out = tmp_path / "out"
    driver = start_driver(cluster, path, out)
    wait_for_parts(out, 2, driver)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert driver.returncode != 0
    rows = [row["text"] for row in rows_in(out)]
    assert 2 * PART_SIZE <= len(rows) < len(texts)
    assert len(rows) % PART_SIZE == 0
    assert set(rows) <= set(texts)


def test_the_command_tags_with_a_model_and_sums_up(tiny, tmp_path):
    path, texts = texts_file(tmp_path, 4)
    out = tmp_path / "out"
    command = ["bulk", path, "--out", out, "--model", tiny.gguf, "--part-size", 3]
    command += ["--format", "jsonl", "--memory", 1, "--threads", 1]
    result = run(*command)
    assert result.exit_code == 0, result.stderr
    # A slow machine shows its progress.
    assert re.fullmatch(r"((reading|tagging): .*\n)*", result.stderr)
    with Tagger.load(tiny.gguf, threads=1) as tagger:
        found = [*tagger.pipe(texts[:3]), *tagger.pipe(texts[3:])]
    rows = rows_in(out)
    assert [[(e["start"], e["end"], e["label"]) for e in row["entities"]] for row in rows] == [
        [(e.start, e.end, e.label) for e in entities] for entities in found
    ]
    entities = sum(map(len, found))
    assert re.fullmatch(
        rf"{out}: 2 parts with 4 texts\n{entities} entit(y|ies), 0 texts with an error\n"
        r"4 texts with 4 sentences in \S+ s: \S+ sentences/s, \S+ per core "
        r"\([12] workers? with 1 thread each\)\n",
        result.stdout,
    )
    (out / "1-texts-4-4.jsonl").unlink()
    assert "3 texts were done before\n1 text with 1 sentence in " in run_ok(*command)
    assert run_ok(*command).endswith("4 texts were done before\n")
    assert_error(run(*command, "--min-score", 0.5), "of a run with another --min-score", 2)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.gguf.read_bytes()[:500])
    command[3], command[5] = tmp_path / "other", damaged
    result = run(*command)
    assert result.exit_code == 1
    assert re.match(r"error: \S+: .*damaged.gguf: ", result.stderr.splitlines()[-1])


def test_a_part_that_fails_leaves_the_others_alone(cluster, tmp_path):
    path, texts = texts_file(tmp_path, 20)
    out = tmp_path / "out"

    def change_the_file(done, total=None, **note):
        path.write_text(path.read_text().replace("letter 19", "letter !!"))

    summary = run_sleeping(
        [str(path)],
        out,
        address=cluster.address,
        part_size=10,
        format="parquet",
        progress=change_the_file,
    )
    assert [failure.file for failure in summary.failures] == ["1-texts-11-20.parquet"]
    assert summary.counts.texts == 10
    assert json.loads((out / "_manifest.json").read_text())["done"] is None
    path.write_text("".join(f"{text}\n" for text in texts))
    again = run_sleeping([str(path)], out, address=cluster.address, part_size=10, format="parquet")
    assert (again.made.texts, again.counts.texts, again.failures) == (10, 20, [])
