"""A whole training run, from files to an adapter folder."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path

import ner_edge
from ner_edge.calibration import CALIBRATION_FILE
from ner_edge.data.corpus import Sentence
from ner_edge.data.formats.columns import Columns
from ner_edge.data.labelled import scan_labelled
from ner_edge.errors import DataError
from ner_edge.files.atomic import exclusive, make_folder
from ner_edge.files.inputs import name_as_text
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import check_base
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.models.resolve import resolve_base
from ner_edge.task import Task
from ner_edge.terminal.progress import Update
from ner_edge.train.batches import lower_cased
from ner_edge.train.check import Check
from ner_edge.train.checkpoint import CHECKPOINT_FILE, check_checkpoint
from ner_edge.train.dev import dev_f1, read_f1
from ner_edge.train.loop import StepReport, run_identity, train
from ner_edge.train.model import save_adapter
from ner_edge.train.out import check_out
from ner_edge.train.preflight import preflight
from ner_edge.train.processes import is_main_process
from ner_edge.train.resource_checks import disk_check
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import Recovery, Start, open_start, with_dtype
from ner_edge.train.word_head import word_head_of


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
    other_inputs: Sequence[Path] = (),
) -> float | None:
    """Train an adapter for `base` on `train_file`, and write it to `out`.

    The adapter is a new one, or starts from the one in the folder `start`. With a `recovery`, it
    learns to give its previous answers with the rounded weights of that file. `out` receives the
    adapter (float16 safetensors, peft's format), its word head if it reads both ways, the task and
    the settings. Only files of an earlier run are overwritten, and no inputs, among them the
    `other_inputs` that the caller read.

    `say` receives each check before training starts; a `dry_run` ends there and writes nothing.
    Returns the strict micro F1 on `dev_file` in percent, of the word head's tags if there is one,
    else of the answers; None without a file, and in all processes but the main one. Raises a
    `NerEdgeError` if an input is wrong or resources are insufficient.
    """
    settings = with_dtype(settings)
    inputs = [train_file, *filter(None, [dev_file]), *(recovery.inputs if recovery else [])]
    inputs += other_inputs
    check_out(out, base=Path(base), start=start, inputs=inputs, resume=resume)
    sentences, note = _read(train_file, task, columns)
    dev_sentences, dev_note = _read(dev_file, task, columns) if dev_file else ([], "")
    notes = {"data": note, "dev": dev_note}

    def pass_on(check: Check) -> None:
        say(replace(check, text=check.text + notes.get(check.name, "")))
        if check.error:
            raise check.error

    sizes = check_base(resolve_base(base))
    disk = disk_check(out, sizes, settings, len(task.labels), recovery is not None)
    if disk.error:  # before the model is loaded
        pass_on(disk)
    opened = open_start(base, settings, start, recovery, list(task.labels))
    encoder = PromptEncoder(opened.tokenizer, task)
    copies = lower_cased(sentences, settings.lowercase, settings.seed)
    encode = encoder.tagged_example if settings.reading == "both" else encoder.example
    examples = [encode(sentence) for sentence in [*sentences, *copies]]
    identity = run_identity(settings, encoder.prefix, examples, opened.identity)
    if resume:
        check_checkpoint(out, identity)
    checks = preflight(opened, encoder, sentences, dev_sentences, examples, settings)
    for check in chain([disk], checks):
        pass_on(check)
    if dry_run:
        return None
    make_folder(out)
    busy = f"--out {out}: another training run is writing there"
    with exclusive(out / CHECKPOINT_FILE, busy) if is_main_process() else nullcontext():
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
            report=lambda step: _show(step, update),
        )
        files = {
            "train_file": name_as_text(train_file),
            "dev_file": name_as_text(dev_file) if dev_file else None,
        }
        return _finish(opened, encoder, dev_sentences, settings, out, files, update)


def _show(step: StepReport, update: Update) -> None:
    words = f" + {step.word_loss:.4f}" if step.word_loss else ""
    note = f"loss {step.loss:.4f}{words}, {step.sentences_per_second:.1f} sentences/s"
    update(step.step, step.steps, note=note)


def _finish(
    opened: Start,
    encoder: PromptEncoder,
    dev_sentences: Sequence[Sentence],
    settings: TrainSettings,
    out: Path,
    files: dict[str, str | None],
    update: Update,
) -> float | None:
    """Save the trained adapter with its task and settings, and return its F1 on the dev set."""
    is_main = is_main_process()
    if is_main:
        save_adapter(opened.model, out, opened.base)
        if head := word_head_of(opened.model):
            head.save(out)
        else:
            (out / HEAD_FILE).unlink(missing_ok=True)  # of an earlier run
        encoder.task.save(out)
        (out / CALIBRATION_FILE).unlink(missing_ok=True)  # was fitted to the previous adapter
    f1 = None
    if dev_sentences and (is_main or settings.shard):  # a sharded base needs all processes

        def report(done: int, total: int) -> None:
            update(done, total, label="dev set")

        if settings.reading == "both":
            f1 = read_f1(opened.model, encoder, dev_sentences, report)
        else:
            f1 = dev_f1(opened.model, opened.tokenizer, encoder, dev_sentences, report)
    if not is_main:
        return None
    settings.save(out, ner_edge=ner_edge.__version__, **opened.provenance, **files, dev_f1=f1)
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return f1


def _read(path: Path, task: Task, columns: Columns | None) -> tuple[list[Sentence], str]:
    """Return the sentences of a file, and a note on its layout and on the entities left out.

    Raises `DataError` if the file has no entity, or one with a label that the task does not have.
    """
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
        raise DataError(f"{path}: contains no entities, so there is nothing to learn")
    notes = [labelled.account(), "" if labelled.plain else labelled.layout]
    return sentences, "".join(f"; {note}" for note in notes if note)
