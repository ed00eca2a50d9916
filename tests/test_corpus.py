import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.corpus import DOCSTART, Sentence, read_conll, write_conll
from ner_edge.errors import DataError
from ner_edge.spans import Span

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
    assert read_conll(path) == SENTENCES


def test_docstart_lines_are_kept_on_demand(path: Path) -> None:
    path.write_text(CORPUS, encoding="utf-8")
    docstart = Sentence([DOCSTART])
    assert docstart.is_docstart
    kept = read_conll(path, keep_docstart=True)
    assert kept == [docstart, SENTENCES[0], docstart, SENTENCES[1]]


def test_reads_iob2_too(path: Path) -> None:
    path.write_text("Vera B-PER\nOkoro I-PER\nAda B-PER\n")
    assert read_conll(path) == [
        Sentence(["Vera", "Okoro", "Ada"], [Span(0, 2, "PER"), Span(2, 3, "PER")])
    ]


def test_text_is_what_the_model_sees() -> None:
    assert SENTENCES[0].text == "Vera Okoro left Leeds Utrecht ."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a O\nb O\nlonely\n", ":3: expected a word and its tag, found 'lonely'"),
        (b"a O\n\nb O\nc X-PER\n", ":4: 'X-PER' is not an IOB tag (O, B-LABEL or I-LABEL)"),
        (b"a O\nb \xff O\n", ":2: not UTF-8 text (invalid start byte)"),
        (b"", ": holds no sentence in CoNLL columns"),
        (b"-DOCSTART- -X- O O\n\n", ": holds no sentence in CoNLL columns"),
    ],
    ids=["one column", "bad tag", "not UTF-8", "empty", "documents without sentences"],
)
def test_a_broken_file_is_named_with_its_line(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_conll(path)
    assert str(caught.value) == f"{path}{message}"


def test_a_missing_file_and_a_folder_are_named(path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_conll(path)
    assert str(caught.value) == f"{path}: no such file"
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_conll(path.parent)
    assert str(path.parent) in str(caught.value)


words = st.text(min_size=1, max_size=6).filter(lambda text: text.split() == [text])


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


@settings(deadline=None)
@given(st.lists(sentences(), min_size=1, max_size=4))
def test_reading_inverts_writing(
    tmp_path_factory: pytest.TempPathFactory, written: list[Sentence]
) -> None:
    stream = io.StringIO()
    write_conll(written, stream)
    path = tmp_path_factory.getbasetemp() / "round-trip.conll"
    path.write_bytes(stream.getvalue().encode())
    assert read_conll(path, keep_docstart=True) == written


def test_writes_two_columns() -> None:
    stream = io.StringIO()
    write_conll([SENTENCES[1]], stream)
    assert stream.getvalue() == "Zürich I-LOC\nwaits O\n\n"
