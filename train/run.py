"""A whole training run, from files to an adapter folder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any

import ner_edge
from ner_edge.calibration import CALIBRATION_FILE
from ner_edge.errors import UsageError
from ner_edge.files.atomic import exclusive, make_folder
from ner_edge.hf.prompts import Example, PromptEncoder
from ner_edge.hf.torch_model import check_base
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.models.resolve import resolve_base
from ner_edge.task import Task
from ner_edge.terminal.progress import Update
from ner_edge.train.batches import Schedule, Share
from ner_edge.train.best import BestAdapter
from ner_edge.train.check import Check
from ner_edge.train.checkpoint import CHECKPOINT_FILE, check_checkpoint
from ner_edge.train.data import DataFile, DataSet, Sample, read_data, samples_of
from ner_edge.train.dev import Dev, dev_scores, thinned
from ner_edge.train.loop import StepReport, run_identity, train
from ner_edge.train.model import save_adapter
from ner_edge.train.out import check_out
from ner_edge.train.preflight import preflight
from ner_edge.train.processes import is_main_process
from ner_edge.train.resource_checks import disk_check
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import Recovery, Start, open_start, with_dtype
from ner_edge.train.word_head import word_head_of
from ner_edge.training_record import read_attributions, union, write_record


def run_training(
    base: str,
    train_files: Sequence[DataFile],
    dev_files: Sequence[DataFile],
    out: Path,
    task: Task,
    settings: TrainSettings,
    *,
    start: Path | None = None,
    recovery: Recovery | None = None,
    attribution: Sequence[str] = (),
    resume: bool = False,
    dry_run: bool = False,
    deadline: float | None = None,
    say: Callable[[Check], None] = lambda check: None,
    update: Update,
    other_inputs: Sequence[Path] = (),
) -> list[float]:
    """Train an adapter for `base` on `train_files`, and write it to `out`.

    The adapter is a new one, or starts from the one in the folder `start`. With a `recovery`, it
    learns to give its previous answers with the rounded weights of that file. `out` receives the
    adapter (float16 safetensors, peft's format), its word head if it reads both ways, the task, and
    a record of settings, data and `attribution`: the credits that licences of the data ask for.
    Only files of an earlier run are overwritten, and no inputs, among them the `other_inputs` that
    the caller read.

    `say` receives each check before training starts; a `dry_run` ends there and writes nothing.
    After the `deadline`, in seconds of `time.monotonic`, no further step begins, and the adapter is
    kept as it is; several processes would not agree on one.

    Returns the strict micro F1 on each of `dev_files` in percent, of the word head's tags if there
    is one, else of the answers; nothing in all processes but the main one. Raises a `NerEdgeError`
    if an input is wrong or resources are insufficient.
    """
    settings = with_dtype(settings)
    inputs = [file.path for file in (*train_files, *dev_files)]
    inputs += [*(recovery.inputs if recovery else []), *other_inputs]
    check_out(out, base=Path(base), start=start, inputs=inputs, resume=resume)
    if settings.keep_best and not dev_files:
        raise UsageError("keep_best compares the F1 on dev files: give some with --dev")
    if settings.passages and settings.reading != "both":
        raise UsageError("passages are only read and tagged: they need --reading both")
    credits = union([read_attributions(start) if start else [], attribution])
    data, dev = read_data(train_files, task), read_data(dev_files, task)

    def pass_on(check: Check) -> None:
        say(check)
        if check.error:
            raise check.error

    sizes = check_base(resolve_base(base))
    disk = disk_check(out, sizes, settings, len(task.labels), recovery is not None)
    if disk.error:  # before the model is loaded
        pass_on(disk)
    opened = open_start(base, settings, start, recovery, list(task.labels))
    run = _Run(opened, PromptEncoder(opened.tokenizer, task), data, dev, settings, out, update)
    if resume:
        check_checkpoint(out, run.identity)
    for check in chain([disk], run.checks()):
        pass_on(check)
    if dry_run:
        return []
    make_folder(out)
    busy = f"--out {out}: another training run is writing there"
    with exclusive(out / CHECKPOINT_FILE, busy) if is_main_process() else nullcontext():
        steps = run.train(resume, deadline)
        return run.finish(steps, credits)


@dataclass(frozen=True)
class _Run:
    """A run whose inputs have been read."""

    opened: Start
    encoder: PromptEncoder
    data: Sequence[DataSet]
    dev: Sequence[DataSet]
    settings: TrainSettings
    out: Path
    update: Update

    @cached_property
    def samples(self) -> list[list[Sample]]:
        return samples_of(self.data, self.settings)

    @cached_property
    def examples(self) -> list[Example]:
        both = self.settings.reading == "both"
        encode = self.encoder.tagged_example if both else self.encoder.example
        return [
            (self.encoder.passage if sample.passage else encode)(sample.sentence)
            for sample in chain.from_iterable(self.samples)
        ]

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule(
            [len(example) for example in self.examples],
            [
                Share(len(own), dataset.file.weight)
                for own, dataset in zip(self.samples, self.data, strict=True)
            ],
            self.settings.batch_size,
            self.settings.epochs,
            self.settings.seed,
        )

    @cached_property
    def all_dev(self) -> list[Dev]:
        """Each dev file, in passages of one sentence if the model does not read longer ones."""
        head = word_head_of(self.opened.model)
        return [data.passages(head.passage if head else 0) for data in self.dev]

    @cached_property
    def at_checkpoints(self) -> list[Dev]:
        """What is measured of them at checkpoints."""
        most = self.settings.dev_sentences
        return [
            thinned(documents, -(-len(data.sentences) // most))
            for data, documents in zip(self.dev, self.all_dev, strict=True)
        ]

    @cached_property
    def identity(self) -> dict[str, Any]:
        return run_identity(
            self.settings,
            self.encoder.prefix,
            self.examples,
            self.schedule,
            self.opened.identity,
            self.at_checkpoints,
        )

    def checks(self) -> Iterator[Check]:
        return preflight(
            self.opened,
            self.encoder,
            self.data,
            self.dev,
            self.samples,
            self.examples,
            self.schedule,
            self.settings,
        )

    def train(self, resume: bool, deadline: float | None) -> int:
        """Train the adapter, and return the number of steps that led to it."""
        best = None
        if self.settings.keep_best:
            best = BestAdapter(lambda: mean(self._scores(self.at_checkpoints)))
        steps = train(
            self.opened.model,
            self.encoder.prefix,
            self.examples,
            self.schedule,
            self.settings,
            self.out,
            identity=self.identity,
            resume=resume,
            rounding=self.opened.rounding,
            teacher=self.opened.teacher,
            best=best,
            deadline=deadline,
            report=self._show,
        )
        return best.step if best else steps

    def finish(self, steps: int, credits: Sequence[str]) -> list[float]:
        """Save the trained adapter with its task and its record, and return its dev scores."""
        is_main = is_main_process()
        if is_main:
            self._save_adapter()
        scores: list[float] = []
        if is_main or self.settings.shard:  # a sharded base needs all processes
            scores = self._scores(self.all_dev)
        if not is_main:
            return []
        record = {
            "ner_edge": ner_edge.__version__,
            **self.opened.provenance,
            "data": [d.provenance | {"weight": d.file.weight} for d in self.data],
            "dev": [d.provenance | {"f1": f1} for d, f1 in zip(self.dev, scores, strict=True)],
            "dev_f1": mean(scores) if scores else None,
            "attribution": credits,
            "steps": steps,
            "steps_planned": self.schedule.steps,
            "settings": asdict(self.settings),
        }
        write_record(self.out, record)
        (self.out / CHECKPOINT_FILE).unlink(missing_ok=True)
        return scores

    def _save_adapter(self) -> None:
        """Write the adapter and its task, and remove what belonged to an earlier one."""
        save_adapter(self.opened.model, self.out, self.opened.base)
        if head := word_head_of(self.opened.model):
            head.save(self.out)
        else:
            (self.out / HEAD_FILE).unlink(missing_ok=True)
        self.encoder.task.save(self.out)
        (self.out / CALIBRATION_FILE).unlink(missing_ok=True)

    def _scores(self, dev: Sequence[Dev]) -> list[float]:
        def report(done: int, total: int) -> None:
            self.update(done, total, label="dev set")

        return dev_scores(self.opened.model, self.opened.tokenizer, self.encoder, dev, report)

    def _show(self, step: StepReport) -> None:
        words = f" + {step.word_loss:.4f}" if step.word_loss else ""
        note = f"loss {step.loss:.4f}{words}, {step.sentences_per_second:.1f} sentences/s"
        self.update(step.step, step.steps, label="training", note=note)
