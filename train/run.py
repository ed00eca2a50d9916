"""A whole training run, from files to an adapter directory."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import ner_edge
from ner_edge.data.corpus import Sentence
from ner_edge.data.labelled import scan_labelled
from ner_edge.data.readers.columns import Columns
from ner_edge.errors import DataError
from ner_edge.files.atomic import exclusive, make_folder
from ner_edge.files.inputs import name_as_text
from ner_edge.hf.prompts import Example, PromptEncoder
from ner_edge.hf.torch_model import check_base
from ner_edge.models.resolve import resolve_base
from ner_edge.task import Task
from ner_edge.temperature import TEMPERATURE_FILE
from ner_edge.terminal.progress import Update
from ner_edge.train.augment import lower_cased
from ner_edge.train.checkpoint import CHECKPOINT_FILE, check_checkpoint
from ner_edge.train.dev import dev_f1
from ner_edge.train.loop import StepReport, run_identity, train
from ner_edge.train.model import save_adapter
from ner_edge.train.out import check_out
from ner_edge.train.preflight import Check, check_disk, preflight
from ner_edge.train.processes import rank_and_world
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import Recovery, Start, open_start, with_dtype


def run_training(
    base: str,
    train_file: Path,
    dev_file: Path | None,
    out: Path,
    task: Task,
    settings: TrainSettings,
    *,
    columns: Columns | None = None,
    start: Path | None = None,
    recovery: Recovery | None = None,
    resume: bool = False,
    dry_run: bool = False,
    say: Callable[[Check], None] = lambda check: None,
    update: Update,
    read: Sequence[Path] = (),
) -> float | None:
    """Train an adapter for `base` on `train_file` and write it to `out`; a fresh one, or that of
    the folder `start` further. With a `recovery` the weights are meanwhile rounded as in its file,
    and what the model answered before is the target, not the labels.

    `out` receives the adapter (float16 safetensors, peft's format), the task, and the settings.
    Before that, `say` hears what the run holds and needs; a `dry_run` ends there, with no trace.
    What it replaces there was made by a run, and is none of the files read here or, as `read`, by
    the caller. Returns the strict micro F1 in percent on `dev_file`, if there is one.
    """
    settings = with_dtype(settings)
    inputs = [train_file, *filter(None, [dev_file]), *(recovery.inputs if recovery else []), *read]
    check_out(out, base=Path(base), start=start, inputs=inputs, resume=resume)
    sentences, note = _read(train_file, task, columns)
    dev_sentences, dev_note = _read(dev_file, task, columns) if dev_file else ([], "")
    notes = {"data": note, "dev": dev_note}
    disk = check_disk(out, check_base(resolve_base(base)), settings.rank, recovery is not None)
    if disk.error:  # told before anything is loaded
        say(disk)
        raise disk.error
    opened = open_start(base, settings, start, recovery)
    encoder = PromptEncoder(opened.tokenizer, task)
    more = lower_cased(sentences, settings.lowercase, settings.seed)
    examples = [encoder.example(sentence) for sentence in [*sentences, *more]]
    identity = run_identity(settings, encoder.prefix, examples, opened.identity)
    if resume:
        check_checkpoint(out, identity)
    checks = preflight(opened, encoder, sentences, dev_sentences, examples, settings)
    for check in chain([disk], checks):
        say(replace(check, text=check.text + notes.get(check.name, "")))
        if check.error:
            raise check.error
    if dry_run:
        return None
    make_folder(out)
    busy = f"--out {out}: another training run is writing there"
    with exclusive(out / CHECKPOINT_FILE, busy) if rank_and_world()[0] == 0 else nullcontext():
        return _train(
            opened,
            encoder,
            examples,
            dev_sentences,
            settings,
            out,
            identity=identity,
            resume=resume,
            update=update,
            files={
                "train_file": name_as_text(train_file),
                "dev_file": name_as_text(dev_file) if dev_file else None,
            },
        )


def _train(
    opened: Start,
    encoder: PromptEncoder,
    examples: Sequence[Example],
    dev_sentences: Sequence[Sentence],
    settings: TrainSettings,
    out: Path,
    *,
    identity: dict[str, Any],
    resume: bool,
    update: Update,
    files: dict[str, str | None],
) -> float | None:
    """Train, save, and report on the dev set; `files` are put on record."""

    def report(step: StepReport) -> None:
        note = f"loss {step.loss:.4f}, {step.sentences_per_second:.1f} sentences/s"
        update(step.step, step.steps, note=note)

    train(
        opened.model,
        encoder.prefix,
        examples,
        settings,
        out,
        identity=identity,
        resume=resume,
        rounding=opened.rounding,
        teacher=opened.teacher,
        report=report,
    )
    is_main = rank_and_world()[0] == 0
    if not is_main and not settings.shard:
        return None
    if is_main:
        save_adapter(opened.model, out, opened.base)
        encoder.task.save(out)
        (out / TEMPERATURE_FILE).unlink(missing_ok=True)  # of the adapter that was there
    f1 = None
    if dev_sentences:  # a base that is shared out takes all processes to answer

        def report_dev(done: int, total: int) -> None:
            update(done, total, label="dev set")

        f1 = dev_f1(opened.model, opened.tokenizer, encoder, dev_sentences, report_dev)
    if not is_main:
        return None
    settings.save(out, ner_edge=ner_edge.__version__, **opened.provenance, **files, dev_f1=f1)
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return f1


def _read(path: Path, task: Task, columns: Columns | None) -> tuple[list[Sentence], str]:
    """The sentences of a file, which must hold entities, and only those the task knows; and what
    is to be said of how they were read."""
    labelled = scan_labelled(path, columns)
    labelled.require_legal()
    sentences = [sentence for sentence in labelled.sentences() if not sentence.is_docstart]
    found = {span.label for sentence in sentences for span in sentence.spans}
    unknown = sorted(found - set(task.labels))
    if unknown:
        raise DataError(
            f"{path}: labels {', '.join(unknown)} are not in task '{task.name}' "
            f"({', '.join(task.labels)})"
        )
    if not found:
        raise DataError(f"{path}: holds no entity, so there is nothing to learn")
    notes = [labelled.account(), "" if labelled.plain else labelled.layout]
    return sentences, "".join(f"; {note}" for note in notes if note)
