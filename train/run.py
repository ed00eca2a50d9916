"""A whole training run, from files to an adapter directory."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

import ner_edge
from ner_edge.corpus import Sentence
from ner_edge.errors import DataError, UsageError
from ner_edge.labelled import read_labelled
from ner_edge.models import resolve_base
from ner_edge.progress import Update
from ner_edge.prompts import PromptEncoder
from ner_edge.task import Task
from ner_edge.torch_model import load_base
from ner_edge.train.attention import NAME as SHARED_PREFIX_ATTENTION
from ner_edge.train.augment import lower_cased
from ner_edge.train.checkpoint import CHECKPOINT_FILE, check_checkpoint
from ner_edge.train.dev import dev_f1
from ner_edge.train.fingerprint import adapter_digest, check_adapter_is_for, fingerprint
from ner_edge.train.loop import StepReport, run_identity, train
from ner_edge.train.model import add_adapter, save_adapter
from ner_edge.train.preflight import Check, preflight
from ner_edge.train.settings import TrainSettings


def run_training(
    base: str,
    train_file: Path,
    dev_file: Path | None,
    out: Path,
    task: Task,
    settings: TrainSettings,
    *,
    start: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    say: Callable[[Check], None] = lambda check: None,
    update: Update,
) -> float | None:
    """Train an adapter for `base` on `train_file` and write it to `out`; a fresh one, or that of
    the folder `start` further.

    `out` receives the adapter (float16 safetensors, peft's format), the task, and the settings.
    Before that, `say` hears what the run holds and needs; a `dry_run` ends there, with no trace.
    Returns the strict micro F1 in percent on `dev_file`, if there is one.
    """
    sentences = _read(train_file, task)
    dev_sentences = _read(dev_file, task) if dev_file else []
    if not dry_run:
        _make_folder(out)
    base_path = resolve_base(base)
    _join_processes()
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, settings.dtype)
    model, tokenizer = load_base(base_path, dtype, device, SHARED_PREFIX_ATTENTION)
    base_fingerprint = fingerprint(model)
    if start:
        check_adapter_is_for(start, base, base_fingerprint)
    model = add_adapter(model, settings, start)
    encoder = PromptEncoder(tokenizer, task)
    more = lower_cased(sentences, settings.lowercase, settings.seed)
    examples = [encoder.example(sentence) for sentence in [*sentences, *more]]
    origin = {"--base": base_fingerprint, "--from": adapter_digest(start) if start else None}
    identity = run_identity(settings, encoder.prefix, examples, origin)
    if resume:
        check_checkpoint(out, identity)
    for check in preflight(model, encoder, sentences, dev_sentences, examples, settings, world):
        say(check)
        if check.error:
            raise check.error
    if dry_run:
        return None

    def report(step: StepReport) -> None:
        note = f"loss {step.loss:.4f}, {step.sentences_per_second:.1f} sentences/s"
        update(step.step, step.steps, note=note)

    train(
        model,
        encoder.prefix,
        examples,
        settings,
        out,
        identity=identity,
        resume=resume,
        report=report,
    )
    if rank:
        return None
    save_adapter(model, out, base)
    task.save(out)
    f1 = None
    if dev_sentences:

        def report_dev(done: int, total: int) -> None:
            update(done, total, label="dev set")

        f1 = dev_f1(model, tokenizer, encoder, dev_sentences, report_dev)
    settings.save(
        out,
        ner_edge=ner_edge.__version__,
        base=base,
        base_fingerprint=base_fingerprint,
        start=start.name if start else None,
        train_file=train_file.name,
        dev_file=dev_file.name if dev_file else None,
        dev_f1=f1,
    )
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return f1


def _read(path: Path, task: Task) -> list[Sentence]:
    """The sentences of a file, which must hold entities, and only those the task knows."""
    sentences = read_labelled(path)
    found = {span.label for sentence in sentences for span in sentence.spans}
    unknown = sorted(found - set(task.labels))
    if unknown:
        raise DataError(
            f"{path}: labels {', '.join(unknown)} are not in task '{task.name}' "
            f"({', '.join(task.labels)})"
        )
    if not found:
        raise DataError(f"{path}: holds no entity, so there is nothing to learn")
    return sentences


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be made a folder ({error.strerror})") from error


def _join_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
