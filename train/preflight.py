"""The checks before a training run: its data, and the resources it needs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ner_edge.architectures import BY_MODEL_TYPE
from ner_edge.brackets import write_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.errors import DataError, ModelError
from ner_edge.files.hashing import sha256_of
from ner_edge.hf.adapter_config import WEIGHTS_FILE
from ner_edge.hf.prompts import Example, PromptEncoder
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.task import Task
from ner_edge.terminal.counts import counted, grouped
from ner_edge.train.batches import Schedule
from ner_edge.train.check import Check
from ner_edge.train.data import DataSet, Sample
from ner_edge.train.processes import rank_and_world
from ner_edge.train.recover import Rounding
from ner_edge.train.resource_checks import memory_check, time_check
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import Start
from ner_edge.train.word_head import word_head_of

_COMPARED = 7  # matrices, as many as a layer has
_SAME = 0.999  # share of equal values; sums in another order may round differently
_BINS = 10
_BAR = 40  # characters of the fullest bin


def preflight(
    start: Start,
    encoder: PromptEncoder,
    data: Sequence[DataSet],
    dev: Sequence[DataSet],
    samples: Sequence[Sequence[Sample]],
    examples: Sequence[Example],
    schedule: Schedule,
    settings: TrainSettings,
) -> Iterator[Check]:
    """Yield the checks of a run that trains the model of `start` on `examples`: the `samples` of
    all files of `data`, as tokens."""
    model, rounding = start.model, start.rounding
    _, world = rank_and_world()
    for dataset, own in zip(data, samples, strict=True):
        counts = data_check("data", dataset, encoder.task, named=len(data) > 1)
        yield replace(counts, text=counts.text + _added(own))
    for dataset in dev:
        yield data_check("dev", dataset, encoder.task, named=len(dev) > 1)
    every = [*chain.from_iterable(samples)]
    if check := template_check([s.sentence for s in every if not s.passage], encoder.task):
        yield check
    if check := reading_check(start, settings):
        yield check
    architecture = BY_MODEL_TYPE[model.config.model_type]
    if licence := architecture.licence:
        yield Check("licence", f"the base and models trained from it are under the {licence}")
    context = model.config.max_position_embeddings
    limits = [(settings.max_tokens, "max_tokens"), (context, "the model's context")]
    if architecture.window and (window := model.config.sliding_window):
        limits.append((window, "the model's sliding window"))  # which packed attention ignores
    limit, name = min(limits)
    check_vocabulary(encoder.prefix, examples, model.config.vocab_size)
    yield token_check(encoder.prefix, examples, every, limit, name)
    if rounding:
        yield rounding_check(rounding, model, start.adapter)
    memory = memory_check(
        model, start.teacher, len(encoder.prefix), examples, schedule, settings, world
    )
    yield memory
    if memory.ok or (settings.shard and world > 1):  # all processes must take part
        yield time_check(start, encoder.prefix, examples, schedule, settings, world)


def data_check(name: str, dataset: DataSet, task: Task, *, named: bool) -> Check:
    """Count the sentences of a file, and their entities of each label."""
    sentences, weight = dataset.sentences, dataset.file.weight
    found = Counter(span.label for sentence in sentences for span in sentence.spans)
    labels = ", ".join(f"{label} {grouped(found[label])}" for label in task.labels)
    total = f"{counted(len(sentences), 'sentence')}, {counted(found.total(), 'entity')} ({labels})"
    start = f"{dataset.file.path}: " if named else ""
    start += f"{weight:g} × " if weight != 1 else ""
    return Check(name, f"{start}{total}{dataset.note}")


def _added(samples: Sequence[Sample]) -> str:
    counts = Counter(sample.change for sample in samples if sample.change)
    return "".join(f"; {grouped(count)} added {change}" for change, count in counts.items())


def template_check(sentences: Sequence[Sentence], task: Task) -> Check | None:
    """Show the prompt and the answer of the first sentence that has an entity, if any has."""
    shown = next((sentence for sentence in sentences if sentence.spans), None)
    if shown is None:
        return None
    answer = write_brackets(shown.words, shown.spans)
    text = f"{task.prefix}{shown.text}{task.suffix}{answer}"
    details = [f"│ {line}" for line in text.split("\n")]
    return Check("template", f"{task.template}, task {task.name}", details=details)


def reading_check(start: Start, settings: TrainSettings) -> Check | None:
    """Say where the word heads are, or that the one of the start is left out; None if neither."""
    if head := word_head_of(start.model):
        some_new = head.new if head.new != head.depths else ()
        depths = [f"{depth}{' (new)' * (depth in some_new)}" for depth in head.depths]
        share = f"{100 * settings.causal_share:.0f} % of the sentences causally"
        heads = f"{'' if head.new != head.depths else 'new '}word heads"
        if settings.passages:
            share = f"{100 * settings.passages:.0f} % in passages; of the rest, {share}"
        return Check("reading", f"both ways, {share}; {heads} after layers {', '.join(depths)}")
    if start.adapter and (start.adapter / HEAD_FILE).exists():
        return Check("reading", f"causally, so the word head of {start.adapter} is left out")
    return None


def token_check(
    prefix: Sequence[int],
    examples: Sequence[Example],
    samples: Sequence[Sample],
    limit: int,
    limit_name: str,
) -> Check:
    """Check that every sentence with its prompt and answer fits into `limit` tokens."""
    lengths = [len(prefix) + len(example) for example in examples]
    text = (
        f"median {median(lengths):.0f} per sentence, longest {max(lengths)}, limit {limit} "
        f"({limit_name}); each includes the shared prompt, {len(prefix)}"
    )
    error = None
    if max(lengths) > limit:
        longest = max(range(len(lengths)), key=lambda i: lengths[i])
        sample = samples[longest]
        origin = f"{sample.origin} {sample.change}".rstrip()
        start = " ".join(sample.sentence.words[:5])[:60]
        too_long = sum(length > limit for length in lengths)
        verb = "needs" if too_long == 1 else "need"
        error = DataError(
            f"{too_long} of {counted(len(lengths), 'sentence')} {verb} more tokens than "
            f"{limit_name}, {limit}; {origin}, the longest ('{start} …'), needs "
            f"{lengths[longest]}: split it"
            f"{', or raise max_tokens with --set' * (limit_name == 'max_tokens')}"
        )
    return Check("tokens", text, error is None, histogram(lengths), error)


def check_vocabulary(prefix: Sequence[int], examples: Sequence[Example], size: int) -> None:
    """Raise `ModelError` if the tokenizer yields a token id that the model has no embedding for."""
    ids = chain(prefix, *(chain(example.prompt, example.response) for example in examples))
    if (largest := max(ids)) >= size:
        raise ModelError(
            f"the tokenizer yields token {largest}, but the model has {size} embeddings; check "
            "that both belong to the same base"
        )


def rounding_check(rounding: Rounding, model: Any, adapter: Path | None) -> Check:
    """Check on a few matrices that rounding them here gives the weights in the file.

    This is possible only with the adapter that the file was made with. Rounds the frozen weights of
    `model` in place.
    """
    rounding.refresh(model)
    kept = f"unrounded weights take {rounding.nbytes / 1e9:.2f} GB"
    text = f"{rounding.file.path.name}: {rounding.types}; {kept}; "
    recorded = rounding.file.text("ner_edge.adapter_sha256")
    if adapter is None or sha256_of(adapter / WEIGHTS_FILE) != recorded:
        return Check("rounding", text + "not compared, since it was made with another adapter")
    modules = rounding.modules[:_COMPARED]
    for module in modules:
        here, there = rounding.rounded(model, module), rounding.in_file(module)
        if np.isclose(here, there).mean() < _SAME:
            error = ModelError(
                f"{rounding.file.path}: {module} differs from the same weights rounded here; pass "
                "the --imatrix that the file was exported with (none if there was none), and the "
                "--base it was made from"
            )
            return Check("rounding", f"{text}{module} differs", False, error=error)
    return Check("rounding", f"{text}{counted(len(modules), 'module')} compared, all equal")


def histogram(values: Sequence[int]) -> list[str]:
    """Return one line for each of up to ten ranges of equal width, with the count of `values`."""
    low, high = min(values), max(values)
    width = -(-(high - low + 1) // _BINS)
    counts = Counter((value - low) // width for value in values)
    most = max(counts.values())
    return [
        f"{low + i * width:>6} to {low + (i + 1) * width - 1:<6} {grouped(counts[i]):>7} "
        f"{'█' * round(_BAR * counts[i] / most)}".rstrip()
        for i in range((high - low) // width + 1)
    ]
