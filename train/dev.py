"""F1 on a development set, by unconstrained greedy decoding in torch."""

from collections.abc import Callable, Sequence
from typing import Any

from ner_edge.brackets import parse_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import answer_sentences
from ner_edge.spans import strict_f1


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
