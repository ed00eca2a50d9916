"""Word tags: the IOB2 tag set of a task's labels, and its most probable legal sequence."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ner_edge.spans import ScoredSpan, Span

OUTSIDE = 0
_PIPE = "|"


def tag_set(labels: Sequence[str]) -> list[str]:
    """`O`, then `B-` and `I-` of each label."""
    return ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def tags_of(spans: Sequence[Span], words: int, labels: Sequence[str]) -> list[int]:
    """The tag of each word, as an index into `tag_set`."""
    tags = [OUTSIDE] * words
    for span in spans:
        begin = 1 + 2 * labels.index(span.label)
        tags[span.start : span.end] = [begin] + [begin + 1] * (span.end - span.start - 1)
    return tags


def best_path(log_probabilities: NDArray[np.float32], words: Sequence[str]) -> NDArray[np.int64]:
    """The most probable tags of a sentence, [words], given those of each word, [words, tags].

    Legal are the sequences that the copy automaton can write: `I-X` follows `B-X` or `I-X`, and no
    entity holds a literal `|` (Viterbi 1967).
    """
    scores = log_probabilities.astype(np.float64)
    scores[[word == _PIPE for word in words], 1:] = -np.inf
    inside = np.arange(2, scores.shape[1], 2)
    best = scores[0].copy()
    best[inside] = -np.inf
    came_from = np.empty(scores.shape, np.int64)
    for i in range(1, len(scores)):
        before = int(best.argmax())  # of a tag that may follow any other
        came_from[i] = before
        following = np.full(len(best), best[before])
        begins = best[inside - 1] >= best[inside]
        came_from[i, inside] = np.where(begins, inside - 1, inside)
        following[inside] = best[came_from[i, inside]]
        best = following + scores[i]
    path = np.empty(len(scores), np.int64)
    path[-1] = best.argmax()
    for i in range(len(scores) - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def spans_of(
    path: NDArray[np.int64], log_probabilities: NDArray[np.float32], labels: Sequence[str]
) -> list[ScoredSpan]:
    """The entities of a legal tag sequence. The score of an entity is the product of the
    probabilities of its tags and of not going on after it."""
    found: list[ScoredSpan] = []
    for start, end in bounds(path):
        score = log_probabilities[range(start, end), path[start:end]].sum()
        begin = path[start]
        if end < len(path):
            goes_on = np.exp(log_probabilities[end, begin + 1])
            score += np.log1p(-min(goes_on, 1 - 1e-7))
        found.append(ScoredSpan(start, end, labels[begin // 2], float(np.exp(score))))
    return found


def bounds(path: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first word of each entity of a legal tag sequence, and the word after its last."""
    start = None
    for i, tag in enumerate([*path.tolist(), OUTSIDE]):
        is_inside = tag != OUTSIDE and tag % 2 == 0
        if start is not None and not is_inside:
            yield start, i
            start = None
        if tag % 2:
            start = i
