"""Run bulk in this process: the plan and one worker, without Ray."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from pyarrow import parquet
from stub_tagger import StubTagger

from ner_edge.bulk.attempts import Attempts
from ner_edge.bulk.manifest import Manifest, ModelStamp, Settings, write_manifest
from ner_edge.bulk.plan import Plan
from ner_edge.bulk.worker import Done, Worker


def plan_of(inputs: list[Any], out: Any, source: str | None = None, **settings: Any) -> Plan:
    """Plan a run into JSON lines, unless `format` says otherwise."""
    return Plan(
        [str(path) for path in inputs], str(out), Settings(**{"format": "jsonl"} | settings), source
    )


def make_parts(plan: Plan) -> list[Done]:
    """Make all parts with the stub tagger."""
    plan.out.make()
    stamp = ModelStamp("stub.gguf", 4, "0" * 64, "stub")
    write_manifest(Manifest(stamp, plan.settings, plan.inputs, plan.parts), plan.out)
    with closing(Attempts("test")) as attempts:
        worker = Worker(StubTagger, plan.work(attempts))  # type: ignore[arg-type]
        return [worker.make(part) for part in plan.parts]


def rows_of(inputs: list[Any], out: Path, source: str | None = None, **settings: Any) -> list[Any]:
    """Make all parts, none of which may fail, and return their rows."""
    plan = plan_of(inputs, out, source, **settings)
    done = make_parts(plan)
    assert [part.error for part in done] == [None] * len(done)
    return rows_in(out)


def rows_in(out: Path) -> list[Any]:
    """Return the rows of all parts, in order."""
    rows: list[Any] = []
    for path in sorted(out.glob("[!_.]*")):
        if path.suffix == ".parquet":
            rows += parquet.read_table(path).to_pylist()
        else:
            rows += map(json.loads, path.read_bytes().splitlines())
    return rows
