"""What is made of the sentences there are, so that more is learned from them."""

import random
from collections.abc import Iterator, Sequence

from ner_edge.corpus import Sentence

_ALONE = 0.4  # share of the passages that are cut after one sentence


def lower_cased(sentences: Sequence[Sentence], share: float, seed: int) -> list[Sentence]:
    """Copies in lower case of a random `share` of `sentences` that are written otherwise."""
    cased = [s for s in sentences if any(word != word.lower() for word in s.words)]
    chosen = random.Random(seed).sample(cased, round(share * len(cased)))
    return [Sentence([word.lower() for word in s.words], s.spans) for s in chosen]


def random_limits(max_words: int, seed: int) -> Iterator[int]:
    """Endless limits of passages, in words, so that single sentences are learned, too."""
    source = random.Random(seed)
    while True:
        yield 0 if source.random() < _ALONE else source.randint(0, max_words)
