"""A whole training run, from files to an adapter directory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import ner_edge
from ner_edge.corpus import Sentence, read_conll
from ner_edge.errors import DataError
from ner_edge.task import Task
from ner_edge.train.checkpoint import CHECKPOINT_FILE
from ner_edge.train.loop import StepReport, train
from ner_edge.train.model import add_adapter, load_base
from ner_edge.train.packing import PromptEncoder
from ner_edge.train.settings import TrainSettings


def check_labels(sentences: list[Sentence], task: Task, path: Path) -> None:
    """Raise `DataError` if the file holds a label that the task does not know, or no entity."""
    found = {span.label for sentence in sentences for span in sentence.spans}
    unknown = sorted(found - set(task.labels))
    if unknown:
        raise DataError(
            f"{path}: labels {', '.join(unknown)} are not in task '{task.name}' "
            f"({', '.join(task.labels)})"
        )
    if not found:
        raise DataError(f"{path}: holds no entity, so there is nothing to learn")


def run_training(
    base: str,
    train_file: Path,
    out: Path,
    task: Task,
    settings: TrainSettings,
    *,
    resume: bool = False,
    report: Callable[[StepReport], None] = lambda _: None,
) -> Any:
    """Train an adapter for `base` on `train_file` and write it to `out`; returns the model,
    its tokenizer and the device.

    `out` receives the adapter (float16 safetensors, peft's format), the task, and the settings.
    """
    _join_processes()
    sentences = read_conll(train_file)
    check_labels(sentences, task, train_file)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_base(base, getattr(torch, settings.dtype), device)
    model = add_adapter(model, settings)
    encoder = PromptEncoder(tokenizer, task)
    examples = [encoder.example(sentence) for sentence in sentences]
    out.mkdir(parents=True, exist_ok=True)
    train(model, encoder.prefix, examples, settings, out, resume=resume, report=report)
    if not dist.is_initialized() or dist.get_rank() == 0:
        _save(model, base, train_file, out, task, settings)
    return model, tokenizer


def _save(
    model: Any, base: str, train_file: Path, out: Path, task: Task, settings: TrainSettings
) -> None:
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.half()
    model.peft_config["default"].base_model_name_or_path = Path(base).stem if base.endswith(".gguf") else base
    model.save_pretrained(out, safe_serialization=True)
    task.save(out)
    settings.save(
        out,
        base=model.peft_config["default"].base_model_name_or_path,
        train_file=train_file.name,
        ner_edge=ner_edge.__version__,
    )
    (out / "README.md").unlink(missing_ok=True)  # peft's empty model card
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)


def _join_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
