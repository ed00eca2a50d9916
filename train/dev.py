"""F1 on development sets, by unconstrained greedy decoding in torch."""

from collections.abc import Callable, Sequence
from itertools import chain, count, islice
from typing import Any

import numpy as np
import torch

from ner_edge.brackets import parse_brackets
from ner_edge.consistency import LogProbabilities, consistent
from ner_edge.data.corpus import Sentence
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import answer_sentences
from ner_edge.spans import Span, strict_f1
from ner_edge.tags import best_path, spans_of
from ner_edge.train.loss import read_packed
from ner_edge.train.packing import pack
from ner_edge.train.passages import joined
from ner_edge.train.word_head import word_head_of

Dev = Sequence[Sequence[Sequence[Sentence]]]
"""A development set: documents in passages of sentences."""

_READ_TOGETHER = 16  # passages


def thinned(dev: Dev, step: int) -> Dev:
    """Return every `step`-th passage of a development set."""
    number = count()
    kept = [[passage for passage in document if next(number) % step == 0] for document in dev]
    return [document for document in kept if document]


def dev_scores(
    model: Any,
    tokenizer: Any,
    encoder: PromptEncoder,
    dev: Sequence[Dev],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """Return the F1 on each development set, of the word head's tags if `model` has one, else of
    its answers; `report` is called with sentences done and in all sets."""
    scores = []
    sentences = [[*chain.from_iterable(chain.from_iterable(documents))] for documents in dev]
    done, total = 0, sum(map(len, sentences))
    for documents, of_set in zip(dev, sentences, strict=True):

        def of_all(count: int, _: int, before: int = done) -> None:
            report(before + count, total)

        if word_head_of(model):
            scores.append(read_f1(model, encoder, documents, of_all))
        else:
            scores.append(dev_f1(model, tokenizer, encoder, of_set, of_all))
        done += len(of_set)
    return scores


def dev_f1(
    model: Any,
    tokenizer: Any,
    encoder: PromptEncoder,
    sentences: Sequence[Sentence],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Return the strict micro F1, in percent, of the answers that `model` generates.

    Answers are aligned to the source words; `report` is called with sentences done and in all.
    """
    base = model.get_base_model()
    attention = base.config._attn_implementation
    base.set_attn_implementation(
        "sdpa"
    )  # shared-prefix attention supports neither cache nor padding
    predicted: list[list[Any]] = [[] for _ in sentences]
    done = 0
    try:
        words = [sentence.words for sentence in sentences]
        for answers in answer_sentences(model, tokenizer, encoder, words):
            for i, answer in answers:
                predicted[i] = parse_brackets(answer, words[i], encoder.task.labels).spans
            done += len(answers)
            report(done, len(sentences))
    finally:
        base.set_attn_implementation(attention)
    return strict_f1((sentence.spans for sentence in sentences), predicted)


def read_f1(
    model: Any,
    encoder: PromptEncoder,
    dev: Dev,
    report: Callable[[int, int], None] = lambda done, total: None,
    depth: int | None = None,
) -> float:
    """Strict micro F1 in percent of the word head's tags, after `depth` layers (None: all)."""
    base = model.get_base_model()
    labels = list(encoder.task.labels)
    passages = [passage for document in dev for passage in document]
    lengths = [sum(len(one.words) for one in passage) for passage in passages]
    order = sorted(range(len(passages)), key=lengths.__getitem__)
    tags: list[list[LogProbabilities]] = [[] for _ in passages]
    done, total = 0, sum(map(len, passages))
    for start in range(0, len(order), _READ_TOGETHER):
        chosen = order[start : start + _READ_TOGETHER]
        read = _read(base, encoder, [passages[i] for i in chosen], depth or base.word_head.last)
        for i, of_passage in zip(chosen, read, strict=True):
            tags[i] = of_passage
            done += len(of_passage)
        report(done, total)
    gold: list[Sequence[Span]] = []
    predicted: list[list[Span]] = []
    of_passages = iter(tags)
    for document in dev:
        sentences = [*chain.from_iterable(document)]
        of_sentences = [*chain.from_iterable(islice(of_passages, len(document)))]
        words = [sentence.words for sentence in sentences]
        for sentence, rows in zip(sentences, consistent(words, of_sentences), strict=True):
            path = best_path(rows, sentence.words)
            gold.append(sentence.spans)
            predicted.append([Span(*span[:3]) for span in spans_of(path, rows, labels)])
    return strict_f1(gold, predicted)


def _read(
    base: Any, encoder: PromptEncoder, passages: Sequence[Sequence[Sentence]], depth: int
) -> list[list[LogProbabilities]]:
    """Return the log-probabilities of the tags of each sentence of each passage."""
    examples = [encoder.passage(joined(passage)) for passage in passages]
    batch = pack(encoder.prefix, examples, base.device, base.dtype)
    with torch.inference_mode():
        states = read_packed(base, batch, all_states=True).hidden_states
        rows = base.word_head(states[depth][0, batch.words], depth).log_softmax(-1).cpu().numpy()
    lengths = [len(sentence.words) for passage in passages for sentence in passage]
    of_sentences = iter(np.split(rows, np.cumsum(lengths)[:-1]))
    return [list(islice(of_sentences, len(passage))) for passage in passages]
