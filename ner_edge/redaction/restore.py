"""Put the original text back in place of placeholders."""

from collections import Counter
from collections.abc import Iterable

from ner_edge.errors import DataError
from ner_edge.redaction.key import Key, RedactedDocument
from ner_edge.redaction.redact import PLACEHOLDER, Placed, placeholders_in
from ner_edge.redaction.word_pairs import share_known, word_pairs

_LEAST_KNOWN = 0.5
"""A text that shares fewer of its pairs of words with a redacted one is another text."""


class Restorer:
    """Restores the texts that were redacted with one key."""

    def __init__(self, key: Key) -> None:
        self._documents = key.documents
        self._by_hash: dict[str, list[RedactedDocument]] = {}
        for document in key.documents:
            self._by_hash.setdefault(document.redacted, []).append(document)
        self._literal = set(key.literal)
        self._everywhere = _texts_of(p for document in key.documents for p in document.placed)

    def unchanged(self, text: str, sha256: str, name: str) -> tuple[str, str] | None:
        """Return the original of a redacted text that was not edited, and its expected SHA-256.

        None if the key does not know the hash. Originals that differ only in the spelling of names
        become the same redacted text: of them, that called `name` is meant. Raises `DataError` if
        there is none.
        """
        documents = self._by_hash.get(sha256, [])
        if len({document.original for document in documents}) > 1:
            documents = [document for document in documents if document.name == name]
            if not documents:
                raise DataError(
                    "several files became this text, with different spellings of a name: give it "
                    "the name it had in its folder, and restore the folder"
                )
        if not documents:
            return None
        return _in_order(text, _texts_of(documents[0].placed)), documents[0].original

    def edited(self, text: str, name: str, *, trust: bool = False) -> tuple[str, list[str]]:
        """Return an edited text with its placeholders replaced, and what is doubtful about it.

        Raises `DataError` if the text does not resemble any text that this key restores, unless
        `trust`.
        """
        document = self._document_like(text, name)
        if document is None and not trust:
            raise DataError(
                "resembles no text of this key: the key is another one, or the text was edited "
                "beyond recognition (--trust-key restores it all the same)"
            )
        own = _texts_of(document.placed) if document else {}
        counts = Counter(placeholders_in(text))
        doubts = [
            f"{placeholder} occurs no more" for placeholder in own if placeholder not in counts
        ]
        chosen: dict[str, list[str]] = {}
        for placeholder, count in counts.items():
            texts = own.get(placeholder) or self._everywhere.get(placeholder)
            if texts is None:
                if placeholder not in self._literal:
                    doubts.append(f"{placeholder} is not in the key and stays")
                continue
            ((usual, _),) = Counter(texts).most_common(1)
            known_order = placeholder in own and count == len(texts)
            if len(set(texts)) > 1:
                rule = "in their old order" if known_order else "the most frequent for all"
                doubts.append(f"{placeholder} replaces {len(set(texts))} spellings: {rule}")
            if not known_order:
                texts = [usual] * count
            chosen[placeholder] = texts
        return _in_order(text, chosen), doubts

    def _document_like(self, text: str, name: str) -> RedactedDocument | None:
        pairs = word_pairs(text)

        def likeness(document: RedactedDocument) -> tuple[float, bool]:
            return share_known(pairs, document.word_pairs), document.name == name

        best = max(self._documents, key=likeness, default=None)
        return best if best and likeness(best)[0] >= _LEAST_KNOWN else None


def _texts_of(placed: Iterable[Placed]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for placeholder, text in placed:
        texts.setdefault(placeholder, []).append(text)
    return texts


def _in_order(text: str, texts: dict[str, list[str]]) -> str:
    """Replace each placeholder by its texts, one after the other; others stay."""
    rest = {placeholder: iter(those) for placeholder, those in texts.items()}
    return PLACEHOLDER.sub(lambda match: next(rest.get(match[0], iter(())), match[0]), text)
