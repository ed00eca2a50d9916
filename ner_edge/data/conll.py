"""Sentences written in CoNLL columns."""

from collections.abc import Iterable
from typing import TextIO

from ner_edge.data.corpus import Sentence
from ner_edge.spans import iob1_from_spans


def write_conll(sentences: Iterable[Sentence], stream: TextIO) -> None:
    """Write two columns, word and IOB1 tag, with a blank line after each sentence."""
    for sentence in sentences:
        tags = iob1_from_spans(sentence.spans, len(sentence.words))
        for word, tag in zip(sentence.words, tags, strict=True):
            stream.write(f"{word} {tag}\n")
        stream.write("\n")
