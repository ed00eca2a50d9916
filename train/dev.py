"""F1 on development sets, by unconstrained greedy decoding in torch."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from ner_edge.brackets import parse_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import answer_sentences
from ner_edge.spans import Span, strict_f1
from ner_edge.tags import best_path, spans_of
from ner_edge.train.loss import read_packed
from ner_edge.train.packing import pack
from ner_edge.train.passages import joined
from ner_edge.train.word_head import word_head_of

Dev = Sequence[Sequence[Sentence]]
"""A development set in passages of sentences."""

_READ_TOGETHER = 16  # passages


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
    done, total = 0, sum(len(passage) for passages in dev for passage in passages)
    for passages in dev:

        def of_all(count: int, _: int, before: int = done) -> None:
            report(before + count, total)

        if word_head_of(model):
            scores.append(read_f1(model, encoder, passages, of_all))
        else:
            sentences = [*chain.from_iterable(passages)]
            scores.append(dev_f1(model, tokenizer, encoder, sentences, of_all))
        done += sum(map(len, passages))
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
    passages: Dev,
    report: Callable[[int, int], None] = lambda done, total: None,
    depth: int | None = None,
) -> float:
    """Strict micro F1 in percent of the word head's tags, after `depth` layers (None: all)."""
    base = model.get_base_model()
    head, labels = base.word_head, list(encoder.task.labels)
    order = sorted(passages, key=lambda passage: sum(len(one.words) for one in passage))
    gold: list[Sequence[Span]] = []
    predicted: list[list[Span]] = []
    total = sum(map(len, passages))
    for start in range(0, len(order), _READ_TOGETHER):
        chosen = order[start : start + _READ_TOGETHER]
        examples = [encoder.passage(joined(passage)) for passage in chosen]
        batch = pack(encoder.prefix, examples, base.device, base.dtype)
        with torch.inference_mode():
            states = read_packed(base, batch, all_states=True).hidden_states
            at = depth or head.last
            scores = head(states[at][0, batch.words], at).log_softmax(-1).cpu().numpy()
        sentences = [*chain.from_iterable(chosen)]
        ends = np.cumsum([len(sentence.words) for sentence in sentences])
        for sentence, rows in zip(sentences, np.split(scores, ends[:-1]), strict=True):
            path = best_path(rows, sentence.words)
            gold.append(sentence.spans)
            predicted.append([Span(*span[:3]) for span in spans_of(path, rows, labels)])
        report(len(gold), total)
    return strict_f1(gold, predicted)
