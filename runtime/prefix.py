"""The instruction that all sentences begin with: evaluated once, then read from disk.

The published instruction has two hundred tokens, several sentences' worth of work. Its state is
kept under a name made of all that it depends on. It is used only if the file is the one that was
written, and if the model, given the last token on top of it, answers to the bit as it did then.
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
from ner_edge.runtime.llama import PREFIX, LlamaModel, Run

_WORTH_KEEPING = 64  # tokens; fewer are evaluated sooner than read
_SAMPLE = 256  # logits kept for comparison


def read_prefix(
    model: LlamaModel, tokens: Sequence[int], folder: Path, files: Sequence[Path]
) -> bool:
    """Evaluate `tokens` into the sequence `PREFIX` of `model`, which was loaded from `files`.

    Long ones are kept in `folder`. Returns whether they were found there.
    """
    state: Path | None = None
    if len(tokens) >= _WORTH_KEEPING:
        state = folder / f"{_key(tokens, files)}.state"
        facts = _restore(model, tokens, state)
        if facts and _last(model, tokens) == facts["answer"]:
            return True
        model.forget(PREFIX, 0)
    evaluate_prefix(model, tokens[:-1])
    answer = _last(model, tokens)
    if state:
        with suppress(NerEdgeError, OSError):  # a cache that cannot be written is no error
            _keep(model, tokens, state, answer)
    return False


def evaluate_prefix(model: LlamaModel, tokens: Sequence[int]) -> None:
    """Evaluate `tokens` into the empty sequence `PREFIX`, whatever is kept on disk."""
    for start in range(0, len(tokens), model.batch_size):
        model.decode([Run(PREFIX, start, tokens[start : start + model.batch_size], [])])


def _last(model: LlamaModel, tokens: Sequence[int]) -> list[float]:
    """Evaluate the last token, alone, and check the model's head by it; a sample of its logits."""
    last = len(tokens) - 1
    ((row,),) = [
        rows.values() for rows in model.decode([Run(PREFIX, last, tokens[last:], [0])], whole=True)
    ]
    model.check_head(row)
    logits = model.all_logits(row)
    return [float(value) for value in logits[:: max(1, len(logits) // _SAMPLE)]]


def _restore(model: LlamaModel, tokens: Sequence[int], state: Path) -> dict[str, Any] | None:
    """Read all but the last token's state; None if there is none or it is not what was written."""
    try:
        facts = json.loads(state.with_suffix(".json").read_text())
        with state.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not model.load_sequence(PREFIX, state, tokens):
        return None
    model.forget(PREFIX, len(tokens) - 1)
    return dict(facts)


def _keep(model: LlamaModel, tokens: Sequence[int], state: Path, answer: list[float]) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(state) as path:
        model.save_sequence(PREFIX, path, tokens)
        with path.open("rb") as file:
            facts = {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "answer": answer}
    with atomic_path(state.with_suffix(".json")) as path:
        path.write_text(json.dumps(facts))


def _key(tokens: Sequence[int], files: Sequence[Path]) -> str:
    """A name for what the state depends on; a model is known by its size, its date and its first
    megabyte, since to hash a large one would take longer than to evaluate the instruction."""
    facts: list[Any] = [llama_cpp.__version__, list(tokens)]
    for file in files:
        status = file.stat()
        with file.open("rb") as stream:
            facts += [status.st_size, status.st_mtime_ns, stream.read(1 << 20).hex()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
