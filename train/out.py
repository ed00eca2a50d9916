"""The output folder of a run, checked before anything is loaded."""

import os
from collections.abc import Iterable
from pathlib import Path

from ner_edge.errors import UsageError
from ner_edge.files.targets import check_folder, check_not_input, same_file
from ner_edge.hf.adapter_config import CONFIG_FILE, WEIGHTS_FILE
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.models.resolve import is_model
from ner_edge.task import TASK_FILE
from ner_edge.train.checkpoint import CHECKPOINT_FILE, is_checkpoint
from ner_edge.training_record import RECORD_FILE

_ADAPTER = (WEIGHTS_FILE, CONFIG_FILE, TASK_FILE, HEAD_FILE)


def check_out(
    out: Path, *, base: Path, start: Path | None, inputs: Iterable[Path], resume: bool
) -> None:
    """Raise `UsageError` if `out` cannot be written, or if the run would overwrite files there
    that no run made: a base model, the adapter `start`, one of `inputs`, a foreign adapter."""
    option = f"--out {out}"
    check_folder(option, out)
    if start and same_file(out, start):
        raise UsageError(f"{option}: is the folder of --from; give another")
    if is_model(out) or (base.is_file() and same_file(out, base.parent)):
        raise UsageError(f"{option}: contains a base model; give another folder")
    for name in (*_ADAPTER, RECORD_FILE, CHECKPOINT_FILE):
        check_not_input(option, out / name, inputs)
    checkpoint = out / CHECKPOINT_FILE
    if os.path.lexists(checkpoint) and not resume and not is_checkpoint(checkpoint):
        raise _foreign(option, checkpoint)
    ours = any((out / name).is_file() for name in (RECORD_FILE, CHECKPOINT_FILE))
    for path in (out / name for name in _ADAPTER):
        if os.path.lexists(path) and not (ours and path.is_file()):
            raise _foreign(option, path)


def _foreign(option: str, path: Path) -> UsageError:
    return UsageError(
        f"{option}: contains {path.name}, which `ner-edge train` did not write; give another folder"
    )
