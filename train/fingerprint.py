"""Fingerprints of base models, which identify a base whatever its name or path."""

import zlib
from pathlib import Path

import torch

from ner_edge.errors import ModelError
from ner_edge.hf.adapter_config import CONFIG_FILE, WEIGHTS_FILE, read_adapter_config
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.training_record import read_record

FINGERPRINT_KEY = "base_fingerprint"
_SAMPLE = 4096  # values per tensor, so that a large model takes no longer than a small one


def fingerprint(model: torch.nn.Module) -> str:
    """Return eight hex digits that depend on the name, shape and first weights of every tensor.

    They are the same in float32 and bfloat16. Call it before an adapter is added.
    """
    digest = 0
    for name, weight in model.named_parameters():
        values = weight.detach().flatten()[:_SAMPLE].to("cpu", torch.bfloat16)
        digest = zlib.crc32(f"{name} {tuple(weight.shape)}".encode(), digest)
        digest = zlib.crc32(values.view(torch.int16).numpy().tobytes(), digest)
    return f"{digest:08x}"


def check_adapter_is_for(folder: Path, base: str, base_fingerprint: str) -> None:
    """Raise `ModelError` if the adapter in `folder` was trained for a base other than `base`.

    Adapters made by other tools have no fingerprint; for those, the last part of the base's name
    must match.
    """
    then = read_adapter_config(folder).base_model_name_or_path
    known = read_record(folder).get(FINGERPRINT_KEY)
    if known is not None and known != base_fingerprint:
        raise ModelError(f"{folder}: was trained for another base ('{then}'), not for '{base}'")
    if known is None and then and Path(then).name != Path(base).name:
        raise ModelError(
            f"{folder}: was trained for '{then}', not for '{base}'; "
            f"if they are the same, change the name in its {CONFIG_FILE}"
        )


def adapter_digest(folder: Path) -> str:
    """Return eight hex digits of the weights of the adapter in `folder`, and of its word head."""
    digest = zlib.crc32((folder / WEIGHTS_FILE).read_bytes())
    if (folder / HEAD_FILE).exists():
        digest = zlib.crc32((folder / HEAD_FILE).read_bytes(), digest)
    return f"{digest:08x}"
