"""More training sentences from those there are."""

import random
from collections.abc import Sequence

from ner_edge.data.corpus import Sentence


def lower_cased(sentences: Sequence[Sentence], share: float, seed: int) -> list[Sentence]:
    """Copies in lower case of a random `share` of `sentences` that are written otherwise."""
    cased = [s for s in sentences if any(word != word.lower() for word in s.words)]
    chosen = random.Random(seed).sample(cased, round(share * len(cased)))
    return [Sentence([word.lower() for word in s.words], s.spans) for s in chosen]
