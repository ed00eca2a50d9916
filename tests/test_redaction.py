"""Redaction and restoring of texts, with any entities: byte for byte the same."""

import hashlib
import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ner_edge.errors import DataError
from ner_edge.redaction.key import Key, RedactedDocument, encoded_key, read_key, write_key
from ner_edge.redaction.known_names import KnownNames, Place
from ner_edge.redaction.redact import Numbering, placeholders_in, places, redact
from ner_edge.redaction.restore import Restorer
from ner_edge.redaction.word_pairs import word_pairs

TEXTS = st.lists(
    st.one_of(
        st.text(),
        st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3),
        st.sampled_from(["Ada Lovelace", "ada", "[PER_1]", "[PER_2]", "[LOC_1]", "[PER_", "_1]"]),
        st.sampled_from(["a@b.org", "ada.lovelace@example.org", "東京都", "Zoe\u0301", " "]),
        st.sampled_from(["\r\n", "\r", "\ufeff", "\u2028", "\0", "👩\u200d👩\u200d👧"]),
    )
).map("".join)


@st.composite
def texts_with_entities(draw: st.DrawFn) -> tuple[str, list[Place]]:
    text = draw(TEXTS)
    ends = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    labels = st.sampled_from(["PER", "LOC"])
    return text, [
        Place(start, end, draw(labels))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
        if text[start:end].strip()
    ]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def redacted_together(
    documents: Sequence[tuple[str, list[Place]]], *, everywhere: bool = True
) -> tuple[list[str], Key]:
    literal = {p for text, _ in documents for p in placeholders_in(text)}
    numbering = Numbering(literal)
    names = KnownNames() if everywhere else None
    for text, entities in documents if names else ():
        for start, end, label in entities:
            names.add(text[start:end], label)
    texts, records = [], []
    for number, (text, entities) in enumerate(documents):
        redacted, placed = redact(text, places(text, entities, names), numbering)
        texts.append(redacted)
        hashes = (sha256(text), sha256(redacted))
        records.append(
            RedactedDocument(f"{number}.txt", *hashes, word_pairs(redacted), list(placed))
        )
    return texts, Key(documents=records, literal=sorted(literal))


@given(st.lists(texts_with_entities(), max_size=4), st.booleans())
@example([("[PER_1] Ada", [Place(8, 11, "PER")])], True)
@example([("Ada", [Place(0, 3, "PER")]), ("[PER_1]", [])], True)
@example([("Ada", [Place(0, 3, "PER")]), ("ADA", [Place(0, 3, "PER")])], True)
def test_restoring_gives_the_same_text(documents, everywhere):
    redacted, key = redacted_together(documents, everywhere=everywhere)
    restorer = Restorer(key)
    for i, (text, (original, _)) in enumerate(zip(redacted, documents, strict=True)):
        found = restorer.unchanged(text, sha256(text), f"{i}.txt")
        assert found == (original, sha256(original))


@given(texts_with_entities())
def test_every_entity_is_replaced_and_nothing_else(document):
    text, entities = document
    (redacted,), key = redacted_together([document], everywhere=False)
    gone = {i for start, end, _ in entities for i in range(start, end)}
    kept = "".join(c for i, c in enumerate(text) if i not in gone)
    for placed in key.documents[0].placed:
        redacted = redacted.replace(placed.placeholder, "", 1)
    left = list(redacted)
    for c in kept:
        left.remove(c)
    assert all(c.isspace() or ord(c) > 127 for c in left)  # surrogates, invisible at the ends


@given(st.lists(texts_with_entities(), min_size=1, max_size=3))
@example([("[\ud800_1]", [])])
def test_the_key_survives_its_file(tmp_path_factory, documents):
    _, key = redacted_together(documents)
    path = tmp_path_factory.mktemp("key") / "key.json"
    write_key(key, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == key
    assert path.read_bytes() == encoded_key(key)


def one(text: str, *names: str, label: str = "PER") -> list[Place]:
    return [Place(text.index(name), text.index(name) + len(name), label) for name in names]


def replaced(text: str, *names: str) -> str:
    (redacted,), _ = redacted_together([(text, one(text, *names))])
    return redacted


@pytest.mark.parametrize(
    ("text", "names", "redacted"),
    [
        ("Ada met Bob. Ada left.", ["Ada", "Bob"], "[PER_1] met [PER_2]. [PER_1] left."),
        ("ADA  LOVELACE, Ada Lovelace", ["ADA  LOVELACE"], "[PER_1], [PER_1]"),
        ("Ada\u200b Love\u00adlace and Ada Lovelace", ["Ada Lovelace"], "[PER_1] and [PER_1]"),
        ("Zoe\u0301, Zo\u00e9, Zoe", ["Zo\u00e9"], "[PER_1], [PER_1], Zoe"),
        ("Rose sells a rose, ROSE.", ["Rose"], "[PER_1] sells a rose, [PER_1]."),
        ("Ada-Fest, Adaline, Ada's", ["Ada"], "[PER_1]-Fest, Adaline, [PER_1]'s"),
        ("東京都と東京", ["東京"], "[PER_1]都と[PER_1]"),
        ("I am I.", ["I"], "[PER_1] am I."),
        ("[PER_1] is not Ada.", ["Ada"], "[PER_1] is not [PER_2]."),
        ("Ada (ada@x.org).", ["Ada"], "[PER_1] ([ADDRESS_1])."),
        ("Lovelace: alovelace@x.org, bob@y.org", ["Lovelace"], "[PER_1]: [ADDRESS_1], bob@y.org"),
        ("Ada, https://ada.example/x.", ["Ada"], "[PER_1], [ADDRESS_1]."),
        ("Bank of Ghent; of@x.org", ["Bank of Ghent"], "[PER_1]; of@x.org"),
    ],
)
def test_what_is_replaced(text, names, redacted):
    assert replaced(text, *names) == redacted


def test_a_name_has_one_number_in_all_documents_but_one_per_label():
    texts = ["Ada in Paris", "Paris met Ada"]
    documents = [
        (texts[0], one(texts[0], "Ada") + one(texts[0], "Paris", label="LOC")),
        (texts[1], one(texts[1], "Paris", "Ada")),
    ]
    redacted, _ = redacted_together(documents)
    assert redacted == ["[PER_1] in [LOC_1]", "[PER_2] met [PER_1]"]


def test_a_part_of_a_known_name_is_not_left_beside_a_placeholder():
    texts = ["Ada Lovelace", "Ada Lovelace wrote"]
    redacted, _ = redacted_together(
        [(texts[0], one(texts[0], "Ada Lovelace")), (texts[1], one(texts[1], "Lovelace"))]
    )
    assert redacted == ["[PER_1]", "[PER_1] wrote"]


TEXT = "Ada Lovelace met ADA LOVELACE and Bob in the town of Ghent on a Tuesday in May."


@pytest.fixture
def restorer() -> Restorer:
    entities = one(TEXT, "Ada Lovelace", "ADA LOVELACE", "Bob") + one(TEXT, "Ghent", label="LOC")
    (redacted,), key = redacted_together([(TEXT, entities)])
    assert redacted.startswith("[PER_1] met [PER_1] and [PER_2] in the town of [LOC_1] on")
    return Restorer(key)


@pytest.mark.parametrize(
    ("edited", "restored", "doubts"),
    [
        (
            "In the town of [LOC_1] [PER_2] met [PER_1] and [PER_1].",
            "In the town of Ghent Bob met Ada Lovelace and ADA LOVELACE.",
            [r"\[PER_1\] replaces 2 spellings: in their old order"],
        ),
        (
            "[PER_2] and [PER_2] in the town of [LOC_1] on a Tuesday.",
            "Bob and Bob in the town of Ghent on a Tuesday.",
            [r"\[PER_1\] occurs no more"],
        ),
        (
            "[PER_1] met [PER_2] in the town of [LOC_1] [PER_9].",
            "Ada Lovelace met Bob in the town of Ghent [PER_9].",
            [
                r"\[PER_1\] replaces 2 spellings: the most frequent for all",
                r"\[PER_9\] is not in the key",
            ],
        ),
    ],
)
def test_an_edited_text_is_restored_and_doubts_are_told(restorer, edited, restored, doubts):
    assert restorer.unchanged(edited, sha256(edited), "0.txt") is None
    text, found = restorer.edited(edited, "0.txt")
    assert text == restored
    assert len(found) == len(doubts)
    for doubt, pattern in zip(found, doubts, strict=True):
        assert re.search(pattern, doubt)
        assert "Lovelace" not in doubt


def test_another_text_is_refused_even_under_the_same_name(restorer):
    other = "[PER_1] lives with [PER_2] near [LOC_1]."
    with pytest.raises(DataError, match="resembles no text of this key"):
        restorer.edited(other, "0.txt")
    assert restorer.edited(other, "0.txt", trust=True)[0].startswith("Ada Lovelace lives with Bob")


@given(texts_with_entities(), st.data())
def test_placeholders_may_be_moved_and_repeated(document, data):
    _, key = redacted_together([document])
    texts: dict[str, set[str]] = {}
    for placeholder, text in key.documents[0].placed:
        texts.setdefault(placeholder, set()).add(text)
    edited = data.draw(st.lists(st.sampled_from([*texts, "and", "[PER_999]"])))
    restored, _ = Restorer(key).edited(" ".join(edited), "0.txt", trust=True)
    pattern = [f"({'|'.join(map(re.escape, texts.get(word, [word])))})" for word in edited]
    assert re.fullmatch(" ".join(pattern), restored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "not a redaction key"),
        ("[PER_1] lives", "not a redaction key"),
        ('{"version": 2, "format": "ner-edge redaction key"}', "of version 2; this ner-edge reads"),
        ('{"version": 1, "format": "ner-edge redaction key"}', "not a redaction key"),
    ],
)
def test_files_that_are_no_keys(tmp_path, content, message):
    (tmp_path / "key").write_text(content)
    with pytest.raises(DataError, match=message):
        read_key(tmp_path / "key")


def test_of_texts_that_became_the_same_the_name_decides():
    documents = [(text, one(text, text[:3])) for text in ("Ada left", "ADA left")]
    redacted, key = redacted_together(documents)
    assert redacted == ["[PER_1] left"] * 2
    with pytest.raises(DataError, match="several files became this text"):
        Restorer(key).unchanged(redacted[0], sha256(redacted[0]), "elsewhere.txt")
