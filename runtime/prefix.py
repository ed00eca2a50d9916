"""The prompt prefix, with the task's instruction: evaluated once, then loaded from a cache on disk.

The published instruction has two hundred tokens, as many as several sentences. The model's state
after it is stored under a hash of everything that it depends on. A stored state is used only if its
file is undamaged, and if the model computes the stored logits for the last token of the prefix, bit
for bit.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import llama_cpp

from ner_edge.errors import NerEdgeError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.hashing import sha256_of
from ner_edge.runtime.batch import Run
from ner_edge.runtime.llama import PREFIX, LlamaModel

_WORTH_KEEPING = 64  # tokens; evaluating fewer is quicker than loading them
_SAMPLE = 256  # logits stored for comparison


def read_prefix(
    model: LlamaModel, tokens: Sequence[int], folder: Path, files: Sequence[Path]
) -> bool:
    """Evaluate `tokens` into the sequence `PREFIX` of `model`, which was loaded from `files`.

    The state of a long prefix is cached in `folder`. Returns whether it was found there.
    """
    state: Path | None = None
    if len(tokens) >= _WORTH_KEEPING:
        state = folder / f"{_key(tokens, files)}.state"
        stored = _restore(model, tokens, state)
        if stored and _last_logits(model, tokens) == stored["answer"]:
            return True
        model.forget(PREFIX, 0)
    evaluate_prefix(model, tokens[:-1])
    logits = _last_logits(model, tokens)
    if state:
        with suppress(NerEdgeError, OSError):  # a cache that cannot be written is no error
            _store(model, tokens, state, logits)
    return False


def evaluate_prefix(model: LlamaModel, tokens: Sequence[int]) -> None:
    """Evaluate `tokens` into the empty sequence `PREFIX`, without the cache."""
    for start in range(0, len(tokens), model.batch_size):
        model.decode([Run(PREFIX, start, tokens[start : start + model.batch_size], [])])


def _last_logits(model: LlamaModel, tokens: Sequence[int]) -> list[float]:
    """Evaluate the last token, check the model's head by it, and return a sample of its logits."""
    last = len(tokens) - 1
    ((row,),) = [
        rows.values() for rows in model.decode([Run(PREFIX, last, tokens[last:], [0])], whole=True)
    ]
    model.check_head(row)
    logits = model.all_logits(row)
    return [float(value) for value in logits[:: max(1, len(logits) // _SAMPLE)]]


def _restore(model: LlamaModel, tokens: Sequence[int], state: Path) -> dict[str, Any] | None:
    """Load the state after all tokens but the last; None if there is none or it is damaged."""
    try:
        stored = json.loads(state.with_suffix(".json").read_text())
        if sha256_of(state) != stored["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not model.load_sequence(PREFIX, state, tokens):
        return None
    model.forget(PREFIX, len(tokens) - 1)
    return dict(stored)


def _store(model: LlamaModel, tokens: Sequence[int], state: Path, logits: list[float]) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(state) as path:
        model.save_sequence(PREFIX, path, tokens)
        digest = sha256_of(path)
    with atomic_path(state.with_suffix(".json")) as path:
        path.write_text(json.dumps({"sha256": digest, "answer": logits}))


def _key(tokens: Sequence[int], files: Sequence[Path]) -> str:
    # Hashing all of a large model would take longer than evaluating the prefix.
    parts: list[Any] = [llama_cpp.__version__, list(tokens)]
    for file in files:
        status = file.stat()
        with file.open("rb") as stream:
            parts += [status.st_size, status.st_mtime_ns, stream.read(1 << 20).hex()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
