"""Unconstrained answers: what they do to their sentences, how lenient scripts score them, and how
they are kept."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ner_edge.brackets import parse_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.eval.metrics import Score

Output = list[int | str]
"""An answer's chunks between white space: the sentence's word i as i, `[` and that word as -1 - i,
and only what the sentence does not hold as text."""


@dataclass(frozen=True)
class OutputFaults:
    """What unconstrained answers to a set of sentences got wrong beside their entities."""

    lenient: Score
    """Entities count by label and place where the answer's words are the sentence's, else by label
    and text, wherever they stand."""
    verbatim: int
    """Answers whose words, brackets taken off, are exactly the sentence's."""
    malformed: int
    """Answers with a bracket that is not closed with a known label."""
    misaligned: int
    """Answers that are malformed or not verbatim."""


def pack_output(answer: str, words: Sequence[str]) -> Output:
    """The answer with its copied words as numbers, so that a file of it holds no sentence."""
    place: dict[str, int] = {}
    for i, word in reversed(list(enumerate(words))):
        place[word] = i
        place["[" + word] = -1 - i
    return [place.get(chunk, chunk) for chunk in answer.split()]


def unpack_output(output: Output, words: Sequence[str]) -> str:
    """The answer, with single spaces."""
    return " ".join(
        chunk if isinstance(chunk, str) else words[chunk] if chunk >= 0 else "[" + words[-1 - chunk]
        for chunk in output
    )


def judge_outputs(
    sentences: Sequence[Sentence], outputs: Sequence[Output], labels: Collection[str]
) -> OutputFaults:
    """Compare the answers with the sentences and with their gold entities."""
    verbatim = malformed = misaligned = 0
    hits = predicted = expected = 0
    for sentence, output in zip(sentences, outputs, strict=True):
        words = sentence.words
        parsed = parse_brackets(unpack_output(output, words), words, labels)
        copied = parsed.output_words == words
        verbatim += copied
        malformed += not parsed.well_formed
        misaligned += not parsed.faithful
        gold: Counter[object]
        found: Counter[object]
        if copied:
            gold, found = Counter(sentence.spans), Counter(parsed.output_spans)
        else:
            gold = Counter((span.label, *words[span.start : span.end]) for span in sentence.spans)
            found = Counter(
                (span.label, *parsed.output_words[span.start : span.end])
                for span in parsed.output_spans
            )
        hits += (gold & found).total()
        expected += gold.total()
        predicted += found.total()
    lenient = Score(
        100 * hits / max(1, predicted),
        100 * hits / max(1, expected),
        200 * hits / max(1, predicted + expected),
        expected,
    )
    return OutputFaults(lenient, verbatim, malformed, misaligned)
