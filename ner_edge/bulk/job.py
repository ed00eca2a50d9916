"""A run of `ner-edge bulk`: Ray's workers make the parts that are missing, then all are counted."""

import math
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ner_edge.bulk.attempts import Attempts
from ner_edge.bulk.cluster import Arrangement, Wishes, arrange, machines, ray_session
from ner_edge.bulk.manifest import Manifest, ModelStamp, PlannedPart, write_manifest
from ner_edge.bulk.model_file import ModelFile
from ner_edge.bulk.part_file import Counts, counts_in
from ner_edge.bulk.plan import Plan
from ner_edge.bulk.storage import Location
from ner_edge.bulk.worker import Done, Work, Worker
from ner_edge.errors import DataError, NerEdgeError, first_line
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.terminal.progress import Update
from ner_edge.terminal.streams import say

Load = Callable[[], GGUFTagger]


class Summary(NamedTuple):
    """What the output folder holds, and what this run did."""

    counts: Counts
    """Of all parts."""
    made: Counts
    """Of the parts that this run made."""
    sentences: int
    """In the texts that this run tagged."""
    seconds: float
    """From the first part that was begun to the last that was ready."""
    arrangement: Arrangement | None
    """None if nothing was left to do."""
    failures: list[Done]
    """The parts that are missing."""


def run(
    plan: Plan,
    model: ModelFile,
    load: Callable[[ModelFile, Arrangement], Load],
    wishes: Wishes,
    progress: Update,
    *,
    version: str = GGUFTagger.version,
    address: str | None = None,
    gpu: bool = False,
) -> Summary:
    """Make the parts that are missing, and count all.

    `load` returns what each worker calls to load its tagger. With `gpu`, llama.cpp was built for
    one. Raises `UsageError` if the folder holds parts of another run, `NerEdgeError` if the workers
    cannot begin.
    """
    stamp = ModelStamp(Path(model.path).name, model.size, model.sha256, version)
    manifest = Manifest(stamp, plan.settings, plan.inputs, plan.parts)
    names = plan.out.names()
    if plan.begun is not None and any(planned.file in names for planned in plan.begun.parts):
        manifest.check_continues(plan.begun, plan.out)
    plan.out.make()
    with plan.out.exclusive():
        return _run(plan, model, manifest, load, wishes, progress, address, gpu)


def _run(
    plan: Plan,
    model: ModelFile,
    manifest: Manifest,
    load: Callable[[ModelFile, Arrangement], Load],
    wishes: Wishes,
    progress: Update,
    address: str | None,
    gpu: bool,
) -> Summary:
    write_manifest(manifest, plan.out)
    names = plan.out.names()
    missing = [planned for planned in plan.parts if planned.file not in names]
    counts = Counts()
    for planned in plan.parts:
        if planned.file in names:
            counts += _counted(planned, plan.out)
    summary = Summary(counts, Counts(), 0, 0.0, None, [])
    if missing:
        attempts = Attempts(secrets.token_hex(8))
        with ray_session(address), closing(attempts):
            # The same for a run that goes on, so that its parts are made in the same way.
            arrangement = arrange(machines(), wishes, model.size, len(plan.parts), gpu=gpu)
            arrangement = arrangement._replace(workers=min(arrangement.workers, len(missing)))
            sent = model.for_other_machines() if address else model
            made = _made(missing, arrangement, load(sent, arrangement), plan.work(attempts))
            with closing(made):  # before Ray is shut down
                summary = _followed(made, missing, summary, plan.texts, progress)
            summary = summary._replace(arrangement=arrangement)
    if not summary.failures:
        write_manifest(msgspec.structs.replace(manifest, done=summary.counts), plan.out)
    return summary


def _counted(planned: PlannedPart, out: Location) -> Counts:
    location = out.child(planned.file)
    counts = counts_in(location)
    if counts.texts != planned.part.rows:
        raise DataError(
            f"{location.shown}: holds {counts.texts} texts instead of {planned.part.rows}; "
            "remove it, and it is made again"
        )
    return counts


def _followed(
    made: Iterator[Done],
    missing: Sequence[PlannedPart],
    summary: Summary,
    texts: int,
    progress: Update,
) -> Summary:
    """Show and sum up what becomes of the missing parts."""
    done = Counts()
    sentences = 0
    failures: list[Done] = []
    left = {planned.file for planned in missing}
    before = summary.counts.texts
    begun, ended = math.inf, 0.0  # by the workers' clocks, since results arrive late
    progress(before, texts)
    for part in made:
        if part.fatal:
            raise NerEdgeError(str(part.error))
        left.discard(part.file)
        if part.error is not None:
            failures.append(part)
            say(f"failed: {part.file}: {part.error}")
            continue
        done += part.counts
        sentences += part.sentences
        begun, ended = min(begun, part.begun), max(ended, part.ended)
        rate = done.texts / max(ended - begun, 1e-9)
        progress(before + done.texts, texts, note=f"{rate:.1f} texts/s")
    for file in sorted(left):
        failures.append(Done(file, error="no worker returned a result"))
        say(f"failed: {file}: {failures[-1].error}")
    return summary._replace(
        counts=summary.counts + done,
        made=done,
        sentences=sentences,
        seconds=max(0.0, ended - begun),
        failures=failures,
    )


def _made(
    missing: Sequence[PlannedPart], arrangement: Arrangement, load: Load, work: Work
) -> Generator[Done]:
    """Yield what became of each part, as soon as it is known."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # the parts that they stand for are missing in the results
    items: list[dict[str, Any]] = [
        {"part": msgspec.json.encode(planned).decode()} for planned in missing
    ]
    with DataContext.current(context):
        results = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Worker,
            fn_constructor_args=(load, work),
            batch_size=1,
            # Parts that wait for a busy worker could be made by another one.
            compute=ActorPoolStrategy(size=arrangement.workers, max_tasks_in_flight_per_actor=1),
            num_cpus=arrangement.threads,
            num_gpus=arrangement.gpus or None,
            memory=arrangement.memory,
        )
    try:
        for batch in results.iter_batches(batch_size=None, prefetch_batches=0):
            yield from (msgspec.json.decode(str(done), type=Done) for done in batch["done"])
    except ray.exceptions.RayError as error:
        raise NerEdgeError(f"Ray: {first_line(error)}") from None
