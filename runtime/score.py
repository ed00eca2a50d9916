"""The score of an entity: its probability under the decoder that found it.

A decision is a softmax over the legal continuations only, so every entity has a probability:
p(open) · Π p(stay) · p(close) · p(label). The model's temperature (`ner_edge/calibration.py`) then
makes it a better estimate. `ner_edge/tags.py` scores the entities of the word head.
"""

import math
from collections.abc import Iterable, Sequence

from ner_edge.calibration import scaled
from ner_edge.spans import ScoredSpan


def decide(logits: Sequence[float]) -> tuple[int, float]:
    """Return the index of the greatest logit, and its log-probability among all of them.

    The log-probability is not finite if any of the logits is not.
    """
    best = max(logits)
    total = sum(math.exp(logit - best) for logit in logits)
    return logits.index(best), -math.log(total)


def entity_score(log_probabilities: Iterable[float]) -> float:
    """Return the probability of an entity from the log-probabilities of all its decisions."""
    return math.exp(sum(log_probabilities))


def calibrated(spans: Iterable[ScoredSpan], temperature: float) -> list[ScoredSpan]:
    """Return the spans with their scores scaled by the temperature."""
    return [span._replace(score=scaled(span.score, temperature)) for span in spans]
