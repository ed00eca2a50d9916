"""A driver of bulk whose workers sleep instead of computing; a test may kill it.

Arguments: the output folder, the address of a Ray cluster, seconds per text, texts per part, number
of workers, input files. Prints what it did as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sleeping_tagger import LoadSleeping

from ner_edge.bulk.cluster import Wishes
from ner_edge.bulk.job import Summary, run
from ner_edge.bulk.manifest import Settings
from ner_edge.bulk.model_file import ModelFile
from ner_edge.bulk.plan import Plan


def run_sleeping(
    inputs: list[str],
    out: Path,
    *,
    address: str | None = None,
    seconds: float = 0.0,
    workers: int | None = None,
    load: Any = None,
    progress: Any = lambda done, total=None, **note: None,
    **settings: Any,
) -> Summary:
    """Run bulk with a tagger that sleeps for so many seconds per text, or that `load` loads."""
    load = load or LoadSleeping(seconds)
    plan = Plan(inputs, str(out), Settings(**settings))
    return run(
        plan,
        ModelFile.at(Path(__file__)),  # any file
        lambda model, arrangement: load,
        Wishes(workers=workers, threads=1, memory=1_000_000),
        progress,
        address=address,
    )


def main() -> None:
    out, address, seconds, part_size, workers, *inputs = sys.argv[1:]
    summary = run_sleeping(
        inputs,
        Path(out),
        address=address or None,
        seconds=float(seconds),
        workers=int(workers) or None,
        part_size=int(part_size),
        format="jsonl",
    )
    done = {"texts": summary.counts.texts, "made": summary.made.texts}
    print(json.dumps(done | {"seconds": summary.seconds, "failed": len(summary.failures)}))


if __name__ == "__main__":
    main()
