"""Changed copies of sentences, which teach a model to find entities in less tidy text.

Entities keep their labels, and their spans follow the words; no word becomes empty or gets white
space.
"""

import random
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ner_edge.data.corpus import Sentence
from ner_edge.passages import BREAK
from ner_edge.spans import Span

Names = Mapping[str, Sequence[tuple[str, ...]]]
"""The distinct entities of each label, as words."""

_MARKS = ".,;:!?…\"'`"
_MARK_CATEGORIES = ("Pd", "Ps", "Pe", "Pi", "Pf")  # dashes, brackets and quotation marks
_MOST_MISSPELT = 3  # words of a sentence
# Letters that character recognition takes for one another.
_LOOKALIKES = {
    "o": "0", "O": "0", "l": "1", "i": "l", "I": "l", "e": "c", "c": "e", "s": "5", "S": "5",
    "b": "h", "h": "b", "B": "8", "g": "q", "u": "v", "v": "u", "m": "rn", "w": "vv", "t": "f",
}  # fmt: skip


@dataclass(frozen=True)
class Augmentation:
    """One kind of copy; `change` may be asked only for a sentence that it `applies` to."""

    done: str
    """Says how the copy differs, as in `10 sentences added in lower case`."""
    applies: Callable[[Sentence, Names], bool]
    change: Callable[[Sentence, Names, random.Random], Sentence]


def lower_cased(sentence: Sentence) -> Sentence:
    """Return the sentence in lower case."""
    return Sentence([word.lower() for word in sentence.words], sentence.spans)


def upper_cased(sentence: Sentence) -> Sentence:
    """Return the sentence in upper case."""
    return Sentence([word.upper() for word in sentence.words], sentence.spans)


def unpunctuated(sentence: Sentence) -> Sentence:
    """Return the sentence without its punctuation marks, except those that are a whole entity."""
    kept = [not _is_punctuation(word) for word in sentence.words]
    for start, end, _ in sentence.spans:
        if not any(kept[start:end]):
            kept[start:end] = [True] * (end - start)
    before = [sum(kept[:i]) for i in range(len(kept) + 1)]
    words = [word for word, keep in zip(sentence.words, kept, strict=True) if keep]
    return Sentence(words, [Span(before[s], before[e], label) for s, e, label in sentence.spans])


def misspelt(sentence: Sentence, rng: random.Random) -> Sentence:
    """Return the sentence with an error in one to three of its words, as made in typing or in
    character recognition: letters swapped, left out, doubled or mistaken."""
    words = list(sentence.words)
    places = [i for i, word in enumerate(words) if _can_be_misspelt(word)]
    for i in rng.sample(places, rng.randint(1, min(_MOST_MISSPELT, len(places)))):
        words[i] = rng.choice(sorted(_misspellings(words[i])))
    return Sentence(words, sentence.spans)


def with_other_names(sentence: Sentence, names: Names, rng: random.Random) -> Sentence:
    """Return the sentence with each entity replaced by another of its label, if `names` has one; in
    upper case if the sentence is. Within a passage, an entity is always replaced by the same one.
    """
    chosen: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
    words: list[str] = []
    spans = []
    end = 0
    for span in sorted(sentence.spans):
        words += sentence.words[end : span.start]
        start, end = len(words), span.end
        own = tuple(sentence.words[span.start : span.end])
        key = tuple(map(str.lower, own)), span.label
        if len(names[span.label]) < 2:
            chosen[key] = own
        elif key not in chosen:
            chosen[key] = _other_name(own, names[span.label], rng)
        other = chosen[key]
        words += [word.upper() for word in other] if _is_upper(sentence, span) else other
        spans.append(Span(start, len(words), span.label))
    return Sentence(words + sentence.words[end:], spans)


def names_in(sentences: Iterable[Sentence]) -> dict[str, list[tuple[str, ...]]]:
    """Return the distinct entities of each label, in order of appearance."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for sentence in sentences:
        for start, end, label in sentence.spans:
            found.setdefault(label, {})[tuple(sentence.words[start:end])] = None
    return {label: list(names) for label, names in found.items()}


AUGMENTATIONS = {
    "lowercase": Augmentation(
        "in lower case",
        lambda sentence, _: lower_cased(sentence) != sentence,
        lambda sentence, *_: lower_cased(sentence),
    ),
    "uppercase": Augmentation(
        "in upper case",
        lambda sentence, _: upper_cased(sentence) != sentence,
        lambda sentence, *_: upper_cased(sentence),
    ),
    "unpunctuated": Augmentation(
        "without punctuation",
        lambda sentence, _: 0 < len(unpunctuated(sentence).words) < len(sentence.words),
        lambda sentence, *_: unpunctuated(sentence),
    ),
    "noise": Augmentation(
        "with misspelt words",
        lambda sentence, _: any(map(_can_be_misspelt, sentence.words)),
        lambda sentence, _, rng: misspelt(sentence, rng),
    ),
    "swap_names": Augmentation(
        "with other names",
        lambda sentence, names: any(len(names[span.label]) > 1 for span in sentence.spans),
        with_other_names,
    ),
}
"""By the name of the setting that says which share of the sentences is copied so."""


def copies(
    sentences: Sequence[Sentence], shares: Mapping[str, float], names: Names, rng: random.Random
) -> Iterator[tuple[int, str, Sentence]]:
    """Yield copies of a random share of the sentences that each augmentation applies to: the index
    of the original, the augmentation's name and the copy.

    `shares` and `rng` determine them.
    """
    for name, augmentation in AUGMENTATIONS.items():
        if not shares[name]:
            continue
        suitable = [i for i, s in enumerate(sentences) if augmentation.applies(s, names)]
        for i in rng.sample(suitable, round(shares[name] * len(suitable))):
            yield i, name, augmentation.change(sentences[i], names, rng)


def _is_punctuation(word: str) -> bool:
    return all(c in _MARKS or unicodedata.category(c) in _MARK_CATEGORIES for c in word)


def _can_be_misspelt(word: str) -> bool:
    return len(word) > 2 and word.isalpha()


def _misspellings(word: str) -> set[str]:
    splits = [(word[:i], word[i:]) for i in range(len(word))]
    left_out = {head + tail[1:] for head, tail in splits}
    doubled = {head + tail[0] + tail for head, tail in splits}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    mistaken = {
        head + _LOOKALIKES[tail[0]] + tail[1:] for head, tail in splits if tail[0] in _LOOKALIKES
    }
    return (left_out | doubled | swapped | mistaken) - {word}


def _is_upper(sentence: Sentence, span: Span) -> bool:
    """Whether the sentence, or that of a passage in which the entity is, is in upper case."""
    start, end = span.start, span.end
    while start > 0 and sentence.words[start - 1] != BREAK:
        start -= 1
    while end < len(sentence.words) and sentence.words[end] != BREAK:
        end += 1
    return " ".join(sentence.words[start:end]).isupper()


def _other_name(
    own: tuple[str, ...], names: Sequence[tuple[str, ...]], rng: random.Random
) -> tuple[str, ...]:
    other = own
    while other == own:
        other = rng.choice(names)
    return other
