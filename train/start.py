"""The starting point of a run: a base, an adapter on it, and the rounding to recover from."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ner_edge.errors import UsageError
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import read_imatrix
from ner_edge.hf.bfloat16 import is_slow_on_cpu
from ner_edge.hf.torch_model import load_base
from ner_edge.models.resolve import resolve_base
from ner_edge.train.attention import NAME as SHARED_PREFIX_ATTENTION
from ner_edge.train.fingerprint import (
    FINGERPRINT_KEY,
    adapter_digest,
    check_adapter_is_for,
    fingerprint,
)
from ner_edge.train.model import add_adapter
from ner_edge.train.processes import join_processes, rank_and_world, shard_base
from ner_edge.train.recover import Rounding
from ner_edge.train.settings import TrainSettings
from ner_edge.train.word_head import add_word_head


@dataclass(frozen=True)
class Recovery:
    """The quantized GGUF whose rounding errors the adapter learns to compensate for, and the
    importance matrix that it was quantized with, if any."""

    file: Path
    imatrix: Path | None = None

    @property
    def inputs(self) -> list[Path]:
        """The files that a run reads."""
        return [self.file, *filter(None, [self.imatrix])]


@dataclass(frozen=True)
class Start:
    """A model with its adapter, ready for training."""

    base: str
    model: Any
    tokenizer: Any
    base_fingerprint: str
    adapter: Path | None
    rounding: Rounding | None
    teacher: Any
    """The unrounded model, when recovering from rounding; else None."""

    @property
    def identity(self) -> dict[str, str | None]:
        """Digests by flag; a run is resumed only if they match."""
        return {
            "--base": self.base_fingerprint,
            "--from": adapter_digest(self.adapter) if self.adapter else None,
            "--recover": self.rounding.digest if self.rounding else None,
        }

    @property
    def provenance(self) -> dict[str, str | None]:
        """The origin of the new adapter, as recorded beside it."""
        return {
            "base": self.base,
            FINGERPRINT_KEY: self.base_fingerprint,
            "start": self.adapter.name if self.adapter else None,
            "recover": self.rounding.file.path.name if self.rounding else None,
        }


def with_dtype(settings: TrainSettings) -> TrainSettings:
    """Return `settings` with `dtype` "auto" replaced by the type that is fast on this machine."""
    if settings.dtype != "auto":
        return settings
    slow = not torch.cuda.is_available() and is_slow_on_cpu()
    return replace(settings, dtype="float32" if slow else "bfloat16")


def open_start(
    base: str,
    settings: TrainSettings,
    adapter: Path | None,
    recovery: Recovery | None,
    labels: Sequence[str] = (),
) -> Start:
    """Load `base` with the adapter of a folder, or with a new one. `settings.dtype` is not "auto".

    To read both ways, it gets a word head for `labels`, too: the adapter's, or a new one. Raises
    `ModelError` if base, adapter and recovery file do not belong together.
    """
    path = resolve_base(base)
    device = join_processes()
    shard = settings.shard and rank_and_world()[1] > 1
    if shard and recovery:
        raise UsageError("--set shard=true: a base cannot be sharded with --recover")
    dtype = getattr(torch, settings.dtype)
    cpu = torch.device("cpu")
    if recovery:  # the unrounded weights stay on the CPU in float32, as export sees them
        model, tokenizer = load_base(path, torch.float32, cpu, SHARED_PREFIX_ATTENTION)
    else:
        where = cpu if shard else device  # sharded, it may be larger than one device
        model, tokenizer = load_base(path, dtype, where, SHARED_PREFIX_ATTENTION)
    base_fingerprint = fingerprint(model)
    if adapter:
        check_adapter_is_for(adapter, base, base_fingerprint)
    rounding = teacher = None
    if recovery:
        imatrix = read_imatrix(recovery.imatrix) if recovery.imatrix else None
        rounding = Rounding(model, GGUFFile(recovery.file), imatrix)
        for weight in model.parameters():  # but no buffers: rotary frequencies stay float32
            weight.data = weight.data.to(dtype, copy=True)
        model.to(device)
        teacher = add_adapter(deepcopy(model), settings, adapter).get_base_model().eval()
    model = add_adapter(model, settings, adapter)
    if settings.reading == "both":
        add_word_head(model, labels, settings, adapter)
    if shard:
        shard_base(model, device)
    return Start(base, model, tokenizer, base_fingerprint, adapter, rounding, teacher)
