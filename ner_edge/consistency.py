"""Label consistency: a word tends to have one label throughout a document.

Source: Krishnan and Manning 2006, "An Effective Two-Stage Model for Exploiting Non-Local
Dependencies in Named Entity Recognition"; here, probabilities are pooled instead of majorities.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

_WEIGHT = 0.6  # of a word's labels in the whole document; the rest: of those where it stands
_LEAST = 1e-9  # a probability, so that logarithms stay finite

LogProbabilities = NDArray[np.float32]


def consistent(
    sentences: Sequence[Sequence[str]], tags: Sequence[LogProbabilities]
) -> list[LogProbabilities]:
    """Return the log-probabilities of the tags of a document's sentences, [words, tags] each, with
    the labels of each word drawn towards those that it has elsewhere, in whatever case.

    The probability that a word is in an entity stays the same, and all probabilities of a word that
    occurs once.
    """
    numbers: dict[str, int] = {}
    form = [
        numbers.setdefault(word.casefold(), len(numbers)) for word in chain.from_iterable(sentences)
    ]
    again = np.bincount(form)[form] > 1
    rows = np.concatenate(tags).astype(np.float64)
    probabilities = np.exp(rows)
    here = probabilities[:, 1::2] + probabilities[:, 2::2] + _LEAST  # [words, labels]
    everywhere = np.zeros((len(numbers), here.shape[1]))
    np.add.at(everywhere, form, here)
    drawn = _WEIGHT * (_log_shares(everywhere[form]) - _log_shares(here))
    moved = rows[:, 1:] + np.repeat(drawn, 2, axis=1)
    moved += np.log(here.sum(axis=1) / (np.exp(moved).sum(axis=1) + _LEAST))[:, None]
    rows[again, 1:] = moved[again]
    ends = np.cumsum([len(sentence) for sentence in sentences])
    return np.split(rows.astype(np.float32), ends[:-1])


def _log_shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(values / values.sum(axis=1, keepdims=True)))
