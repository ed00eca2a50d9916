import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.data.corpus import DOCSTART, Sentence
from ner_edge.data.labelled import read_labelled, scan_labelled
from ner_edge.data.schemes import iob1_from_spans, iobes_from_spans
from ner_edge.errors import DataError, NerEdgeWarning
from ner_edge.segment import segment
from ner_edge.spans import Span, iob2_from_spans

# Written for these tests, in the original's columns: word, part of speech, chunk, IOB1 tag.
CORPUS = """\
-DOCSTART- -X- O O

Vera NNP I-NP I-PER
Okoro NNP I-NP I-PER
left VBD I-VP O
Leeds NNP I-NP I-ORG
Utrecht NNP I-NP B-ORG
. . O O

-DOCSTART- -X- O O

Zürich NNP I-NP I-LOC
waits VBZ I-VP O

"""
SENTENCES = [
    Sentence(
        ["Vera", "Okoro", "left", "Leeds", "Utrecht", "."],
        [Span(0, 2, "PER"), Span(3, 4, "ORG"), Span(4, 5, "ORG")],
    ),
    Sentence(["Zürich", "waits"], [Span(0, 1, "LOC")]),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sample.conll"


@pytest.mark.parametrize(
    "text",
    [
        CORPUS,
        CORPUS.rstrip("\n"),
        CORPUS.replace("\n", "\r\n"),
        CORPUS.replace("\n\n", "\n \n\n"),
        CORPUS.replace(" ", "\t"),
        "\ufeff" + CORPUS.partition("\n")[2],
    ],
    ids=["as is", "no last newline", "Windows", "blank runs", "tabs", "byte order mark"],
)
def test_reads_iob1_columns(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
    assert read_labelled(path) == SENTENCES


def test_docstart_lines_are_kept_on_demand(path: Path) -> None:
    path.write_text(CORPUS, encoding="utf-8")
    docstart = Sentence([DOCSTART])
    assert docstart.is_docstart
    kept = read_labelled(path, keep_docstart=True)
    assert kept == [docstart, SENTENCES[0], docstart, SENTENCES[1]]


def test_reads_iob2_too(path: Path) -> None:
    path.write_text("Vera B-PER\nOkoro I-PER\nAda B-PER\n")
    assert read_labelled(path) == [
        Sentence(["Vera", "Okoro", "Ada"], [Span(0, 2, "PER"), Span(2, 3, "PER")])
    ]


def test_text_is_what_the_model_sees() -> None:
    assert SENTENCES[0].text == "Vera Okoro left Leeds Utrecht ."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a O\nb O\nlonely\n", ":3: expected a word and its tag, found 'lonely'"),
        (b"a O\n\nb O\nc X-PER\n", ":4: 'X-PER' is not an IOB tag (O, B-LABEL or I-LABEL)"),
        (b"a O\nb\xe9 O\n", ":2: not UTF-8 text (byte 0xe9): save the file as UTF-8"),
        (b"", ": contains no sentences in CoNLL columns"),
        (b"-DOCSTART- -X- O O\n\n", ": contains no sentences in CoNLL columns"),
        (b"a O\nb\0 O\n", ":2: the word contains a NUL"),
        (
            b"a PER\nb O\nalone\n",
            ":1: 'PER' is not an IOB tag (O, B-LABEL or I-LABEL)"
            " (and 1 more: `ner-edge data check` lists them)",
        ),
    ],
    ids=["one column", "bad tag", "not UTF-8", "empty", "only documents", "NUL", "several"],
)
def test_a_broken_file_is_named_with_its_line(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert str(caught.value) == f"{path}{message}"


def test_a_missing_file_and_a_folder_are_named(path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert str(caught.value) == f"{path}: no such file"
    with pytest.raises(DataError, match="is a folder, not a file") as caught:
        read_labelled(path.parent)
    assert str(path.parent) in str(caught.value)


words = st.text(min_size=1, max_size=6).filter(
    lambda text: text.split() == [text] and "\0" not in text and text[0] != "\ufeff"
)


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    tokens = draw(st.lists(words, min_size=1, max_size=8))
    ends = sorted(draw(st.sets(st.integers(1, len(tokens)))))
    spans = [
        Span(start, end, draw(st.sampled_from(["PER", "LOC"])))
        for start, end in zip([0, *ends], ends, strict=False)
        if draw(st.booleans())
    ]
    return Sentence(tokens, spans)


def rows(sentence: Sentence, tags: Sequence[str]) -> str:
    pairs = zip(sentence.words, tags, strict=True)
    return "".join(f"{word} {tag}\n" for word, tag in pairs)


@settings(deadline=None)
@given(st.lists(sentences(), min_size=1, max_size=4))
def test_reading_inverts_writing(
    tmp_path_factory: pytest.TempPathFactory, written: list[Sentence]
) -> None:
    blocks = [rows(s, iob1_from_spans(s.spans, len(s.words))) for s in written]
    path = tmp_path_factory.getbasetemp() / "round-trip.conll"
    path.write_bytes("\n".join(blocks).encode())
    assert read_labelled(path, keep_docstart=True) == written


@given(sentences().filter(lambda sentence: bool(sentence.spans)))
def test_every_scheme_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, sentence: Sentence
) -> None:
    path = tmp_path_factory.getbasetemp() / "scheme.conll"
    for write in (iob1_from_spans, iob2_from_spans, iobes_from_spans):
        tags = write(sentence.spans, len(sentence.words))
        path.write_bytes(rows(sentence, tags).encode())
        assert read_labelled(path, keep_docstart=True) == [sentence]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("I-PER I-PER O I-LOC B-LOC", "IOB1"),
        ("B-PER I-PER O B-LOC B-LOC", "IOB2"),
        ("B-PER I-PER O I-LOC", "IOB"),
        ("O O", "IOB"),
        ("B-PER E-PER O S-LOC", "BIOES"),
        ("B-PER L-PER O U-LOC", "BIOES"),
    ],
)
def test_the_scheme_is_recognized(path: Path, tags: str, scheme: str) -> None:
    path.write_text("".join(f"word {tag}\n" for tag in tags.split()))
    assert scan_labelled(path).format == scheme


@pytest.mark.parametrize(
    ("tags", "illegal"),
    [
        ("B-PER O S-LOC", [(1, "'B-PER' is followed by 'O': I-PER or E-PER must follow")]),
        ("S-LOC B-PER I-PER", [(3, "'I-PER' is the last of its sentence: I-PER or E-PER")]),
        ("S-LOC I-PER", [(2, "'I-PER' continues an entity that did not begin")]),
        ("S-LOC E-LOC O", [(2, "'E-LOC' continues an entity that did not begin")]),
        ("B-PER E-LOC", [(1, "'B-PER' is followed by 'E-LOC': I-PER or E-PER must follow")]),
        ("B-PER B-PER E-PER", [(1, "'B-PER' is followed by 'B-PER'")]),
        ("S-PER X-LOC I-", [(2, "'X-LOC' is not a BIOES tag"), (3, "'I-' is not a BIOES")]),
    ],
)
def test_what_breaks_bioes_is_found_with_its_line(
    path: Path, tags: str, illegal: list[tuple[int, str]]
) -> None:
    path.write_text("".join(f"word {tag}\n" for tag in tags.split()))
    found = scan_labelled(path).illegal
    assert [line for line, _ in found] == [line for line, _ in illegal]
    for (_, message), (_, expected) in zip(found, illegal, strict=True):
        assert message.startswith(expected)
    with pytest.raises(DataError, match=f":{illegal[0][0]}: "):
        read_labelled(path)


def write_jsonl(path: Path, *records: Any) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


TEXT = "Vera Okoro left. Zürich waits."
ENTITIES = [
    {"start": 0, "end": 10, "text": "Vera Okoro", "label": "PER", "score": 0.5},
    {"start": 17, "end": 23, "text": "Zürich", "label": "LOC", "score": 1},
]
READ = [
    Sentence(["Vera", "Okoro", "left", "."], [Span(0, 2, "PER")]),
    Sentence(["Zürich", "waits", "."], [Span(0, 1, "LOC")]),
]
TRIPLES = [[entity["start"], entity["end"], entity["label"]] for entity in ENTITIES]


@pytest.mark.parametrize(
    "record",
    [
        {"text": TEXT, "entities": ENTITIES},
        {"text": TEXT, "entities": TRIPLES},
        {"text": TEXT, "spans": [{"start": 17, "end": 23, "label": "LOC"}, ENTITIES[0]]},
        {"text": TEXT, "ents": ENTITIES, "tokens": [{"id": 0}]},
        {"id": 7, "text": TEXT, "label": TRIPLES},
        {
            "text": TEXT,
            "entities": [
                {"start": 0, "end": 10, "entity_group": "PER", "word": "Vera Okoro"},
                {"start": 17, "end": 24, "entity_group": "LOC", "word": "Zürich"},
            ],
        },
    ],
    ids=["ours", "triples", "Prodigy", "spaCy", "doccano", "transformers, and a blank"],
)
@pytest.mark.parametrize("name", ["data.jsonl", "data"])
def test_reads_json_lines_of_many_tools(tmp_path: Path, record: Any, name: str) -> None:
    write_jsonl(tmp_path / name, record, {"text": "", "entities": []})
    assert read_labelled(tmp_path / name) == READ


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", 'expected an object with a "text"'),
        ('{"text": 1}', 'expected an object with a "text"'),
        ('{"text": "a"}', "has no list of entities (entities, spans, ents, label"),
        ('{"text": "a", "entities": [1]}', "entity 1: expected an object or [start, end, label]"),
        ('{"text": "a", "entities": [[0, 1.0, "X"]]}', "entity 1: start and end must be whole"),
        ('{"text": "a", "entities": [[0, true, "X"]]}', "entity 1: start and end must be whole"),
        ('{"text": "a", "entities": [[0, 1, ""]]}', "entity 1: has no label"),
        (
            '{"text": "a", "entities": [[0, 2, "X"]]}',
            "entity 1: 0 to 2 lies outside the text, which has 1",
        ),
        (
            '{"text": "a", "entities": [[1, 1, "X"]]}',
            "entity 1: 1 to 1 lies outside the text, which has 1",
        ),
        (
            '{"text": "ab", "entities": [{"start": 0, "end": 1, "label": "X", "text": "b"}]}',
            "entity 1: its text is 'b', but 0 to 1 is 'a'; offsets count code points",
        ),
        (
            '{"text": "a", "entities": [{"start": 0, "end": 1, "label": "X", "score": NaN}]}',
            "not valid JSON (JSON is malformed: invalid character)",
        ),
        (
            '{"text": "a", "entities": [{"start": 0, "end": 1, "label": "X", "score": 1.5}]}',
            "entity 1: its score '1.5' is not between 0 and 1",
        ),
    ],
)
def test_a_broken_json_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "Fine.", "entities": []}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_json_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"text": "\xff", "entities": []}\n')
    with pytest.raises(DataError, match=":1: not UTF-8 text"):
        read_labelled(path)


def test_a_sentence_whose_entity_cuts_a_word_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    write_jsonl(path, {"text": TEXT, "entities": [[0, 3, "PER"], [17, 23, "LOC"]]})
    with pytest.warns(NerEdgeWarning) as caught:
        assert read_labelled(path) == READ[1:]
    assert str(caught[0].message) == (
        f"{path}: left out: 1 entity, 1 sentence (line 1: 'Ver' does not start and end "
        "at word boundaries); `ner-edge data check` lists them"
    )


def test_an_entity_over_two_sentences_leaves_out_both(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    write_jsonl(path, {"text": TEXT, "entities": [[11, 23, "PER"]]})
    with pytest.raises(DataError, match=r"no sentences \(line 1: .* runs into the next sentence"):
        read_labelled(path)


def test_of_overlapping_entities_the_longest_stays(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    entities = [[0, 4, "PER"], *TRIPLES, [5, 10, "PER"], [0, 10, "PER"]]
    write_jsonl(path, {"text": TEXT, "entities": entities})
    with pytest.warns(NerEdgeWarning, match=r"left out: 2 entities, 0 .*overlaps another"):
        assert read_labelled(path) == READ


@given(st.text(alphabet="Aa b.\n\u00a0é-'\0", max_size=40), st.data())
def test_json_lines_keep_every_word_and_account_for_every_entity(
    tmp_path_factory: pytest.TempPathFactory, text: str, data: st.DataObject
) -> None:
    offsets = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(offsets, offsets)))
    marks = [(start, end, "X") for start, end in pairs if start < end]
    path = tmp_path_factory.getbasetemp() / "data.jsonl"
    write_jsonl(path, {"text": text, "entities": marks})
    labelled = scan_labelled(path)
    assert labelled.illegal == []
    words = [[word.text for word in sentence] for sentence in segment(text)]
    assert [located.sentence.words for located in labelled.located] == words
    spans = sum(len(located.sentence.spans) for located in labelled.located)
    assert spans + len(labelled.left_out) == len(set(marks))
    for located, sentence in zip(labelled.located, segment(text), strict=True):
        for start, end, _ in located.sentence.spans:
            piece = text[sentence[start].start : sentence[end - 1].end]
            assert any(text[begin:stop].strip() == piece for begin, stop, _ in marks)
