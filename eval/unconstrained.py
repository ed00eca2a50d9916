"""The faults of unconstrained output, its lenient score, and how the cache stores it."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ner_edge.brackets import Parsed, parse_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.eval.metrics import Score

PackedOutput = list[int | str]
"""The chunks of an output between white space. Word i of the sentence is i, the same word with `[`
before it is -1 - i; other chunks are text."""


@dataclass(frozen=True)
class OutputFaults:
    """Faults of the outputs for a set of sentences, counted in outputs."""

    lenient: Score
    """Matches entities by label and place if the output's words are the sentence's, otherwise by
    label and text."""
    verbatim: int
    """Outputs whose words, without brackets, are the sentence's."""
    malformed: int
    """Outputs with a bracket that is not closed by a known label."""
    misaligned: int
    """Outputs that are malformed or not verbatim."""


def pack_output(output: str, words: Sequence[str]) -> PackedOutput:
    """Replace copied words by their numbers, so that the result contains no sentences."""
    place: dict[str, int] = {}
    for i, word in reversed(list(enumerate(words))):
        place[word] = i
        place["[" + word] = -1 - i
    return [place.get(chunk, chunk) for chunk in output.split()]


def unpack_output(output: PackedOutput, words: Sequence[str]) -> str:
    """Return the output, with single spaces."""
    return " ".join(
        chunk if isinstance(chunk, str) else words[chunk] if chunk >= 0 else "[" + words[-1 - chunk]
        for chunk in output
    )


def judge_outputs(
    sentences: Sequence[Sentence], outputs: Sequence[PackedOutput], labels: Collection[str]
) -> OutputFaults:
    """Compare the outputs with the sentences and their gold entities."""
    verbatim = malformed = misaligned = 0
    hits = predicted = expected = 0
    for sentence, output in zip(sentences, outputs, strict=True):
        parsed = parse_brackets(unpack_output(output, sentence.words), sentence.words, labels)
        verbatim += parsed.output_words == sentence.words
        malformed += not parsed.well_formed
        misaligned += not parsed.faithful
        gold, found = _lenient_entities(sentence, parsed)
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


def _lenient_entities(
    sentence: Sentence, parsed: Parsed
) -> tuple[Counter[object], Counter[object]]:
    words, output_words = sentence.words, parsed.output_words
    if output_words == words:
        return Counter(sentence.spans), Counter(parsed.output_spans)
    return (
        Counter((span.label, *words[span.start : span.end]) for span in sentence.spans),
        Counter((span.label, *output_words[span.start : span.end]) for span in parsed.output_spans),
    )
