"""Label consistency: a word, and an entity, tends to have one label throughout a document.

Source: Krishnan and Manning 2006, "An Effective Two-Stage Model for Exploiting Non-Local
Dependencies in Named Entity Recognition"; here, probabilities are pooled instead of majorities.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ner_edge.tags import best_path, bounds

# Of the labels in the whole document; the rest: of those at the place itself.
_OF_WORDS = 0.6
_OF_ENTITIES = 0.7
_LEAST = 1e-9  # a probability, so that logarithms stay finite

LogProbabilities = NDArray[np.float32]
_Rows = NDArray[np.float64]


def consistent(
    sentences: Sequence[Sequence[str]], tags: Sequence[LogProbabilities]
) -> list[LogProbabilities]:
    """Return the log-probabilities of the tags of a document's sentences, [words, tags] each, with
    the labels of each word, and then of each entity, drawn towards those that the same word or
    entity has elsewhere in the document, in whatever case.

    The probability that a word is in an entity stays the same, and all probabilities of a word that
    occurs once.
    """
    rows = np.concatenate(tags).astype(np.float64)
    ends = np.cumsum([len(sentence) for sentence in sentences])
    forms = [word.casefold() for word in chain.from_iterable(sentences)]
    rows = _with_consistent_words(forms, rows)
    by_sentence = np.split(rows.astype(np.float32), ends[:-1])
    entities: dict[tuple[str, ...], list[slice]] = defaultdict(list)
    for end, words, of_words in zip(ends, sentences, by_sentence, strict=True):
        for first, last in bounds(best_path(of_words, words)):
            start = int(end) - len(words)
            place = slice(start + first, start + last)
            entities[tuple(forms[place])].append(place)
    for places in entities.values():
        if len(places) > 1:
            _make_consistent(places, rows)
    return np.split(rows.astype(np.float32), ends[:-1])


def _with_consistent_words(forms: Sequence[str], rows: _Rows) -> _Rows:
    numbers: dict[str, int] = {}
    form = [numbers.setdefault(word, len(numbers)) for word in forms]
    here = _of_labels(rows)
    everywhere = np.zeros((len(numbers), here.shape[1]))
    np.add.at(everywhere, form, here)
    drawn = _OF_WORDS * (_log_shares(everywhere[form]) - _log_shares(here))
    again = np.bincount(form)[form] > 1
    return np.where(again[:, None], _drawn(rows, drawn), rows)


def _make_consistent(places: Sequence[slice], rows: _Rows) -> None:
    """Draw the labels of an entity's words towards the mean over its `places`; at each, those of
    the entity are the geometric mean over its words."""
    of_words = [_log_shares(_of_labels(rows[place])) for place in places]
    of_entity = [_log_shares(np.exp(shares.mean(axis=0, keepdims=True))) for shares in of_words]
    everywhere = np.log(np.exp(of_entity).mean(axis=0))
    for place, here in zip(places, of_words, strict=True):
        rows[place] = _drawn(rows[place], _OF_ENTITIES * (everywhere - here))


def _of_labels(rows: _Rows) -> _Rows:
    """The probability of each label, [words, labels]."""
    probabilities = np.exp(rows)
    return np.asarray(probabilities[:, 1::2] + probabilities[:, 2::2] + _LEAST)


def _log_shares(values: _Rows) -> _Rows:
    return np.asarray(np.log(values / values.sum(axis=1, keepdims=True)))


def _drawn(rows: _Rows, by: _Rows) -> _Rows:
    """Return rows whose log-odds of labels are moved, [words, labels], within the probability of
    being in an entity."""
    moved = rows.copy()
    moved[:, 1:] += np.repeat(by, 2, axis=1)
    inside = _of_labels(rows).sum(axis=1) / (np.exp(moved[:, 1:]).sum(axis=1) + _LEAST)
    moved[:, 1:] += np.log(inside)[:, None]
    return moved
