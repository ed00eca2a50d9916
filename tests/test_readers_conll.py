"""CoNLL columns as corpora and tools write them: how they are read, and which are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.data.corpus import DOCSTART, Labelled, Sentence
from ner_edge.data.formats.columns import Columns, parse_columns
from ner_edge.data.labelled import read_documents, read_labelled, scan_labelled
from ner_edge.errors import DataError, UsageError
from ner_edge.spans import Span


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.conll"


def scan(path: Path, text: str, columns: Columns | None = None) -> Labelled:
    path.write_text(text, encoding="utf-8", newline="")
    return scan_labelled(path, columns)


def refused(path: Path, text: str, columns: Columns | None = None) -> str:
    """Return the error message after the file's name."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_labelled(path, columns=columns)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    "text",
    [
        "-DOCSTART- -DOCSTART- O\nDe Art O\nAcme N B-ORG\n\nIn Prep O\nGent N B-LOC\n",
        "De Art O\nAcme N B-ORG\n-DOCSTART- -X- O\nIn Prep O\nGent N B-LOC\n",
        "-DOCSTART-\nDe Art O\nAcme N B-ORG\n-DOCSTART-\n\nIn Prep O\nGent N B-LOC\n",
        "De\tArt\tO\nAcme\tN\tB-ORG\n-DOCSTART- -X- O\nIn\tPrep\tO\nGent\tN\tB-LOC\n",
        "1 De O x\n2 Acme B-ORG x\n0 -DOCSTART- O x\n1 In O x\n2 Gent B-LOC x\n",
    ],
    ids=["CoNLL-2002", "instead of a blank line", "alone", "among tabs", "numbered"],
)
def test_a_docstart_row_is_a_block_by_itself(path: Path, text: str) -> None:
    labelled = scan(path, text)
    assert (labelled.illegal, labelled.doubtful) == ([], [])
    assert [sentence for sentence in labelled.sentences() if not sentence.is_docstart] == [
        Sentence(["De", "Acme"], [Span(1, 2, "ORG")]),
        Sentence(["In", "Gent"], [Span(1, 2, "LOC")]),
    ]
    assert Sentence([DOCSTART]) in list(labelled.sentences())


READ = [Sentence(["Marta", "Novak", "lacht"], [Span(0, 2, "PER")]), Sentence(["Niemand"])]
LAYOUTS = {
    "CoNLL-2003": (
        "Marta NNP I-NP I-PER\nNovak NNP I-NP I-PER\nlacht VBZ I-VP O\n\nNiemand NN I-NP O\n",
        "separated by spaces; word column 1; tags column 4, IOB1",
    ),
    "CoNLL-2003, no entity in the chunks' column": (
        "Marta NNP O B-PER\nNovak NNP O I-PER\nlacht VBZ O O\n\nNiemand NN O O\n",
        "separated by spaces; word column 1; tags column 4, IOB2",
    ),
    "CoNLL-2002": (
        "Marta NP B-PER\nNovak NP I-PER\nlacht VMI O\n\nNiemand P O\n",
        "separated by spaces; word column 1; tags column 3, IOB2",
    ),
    "two columns": (
        "Marta B-PER\nNovak I-PER\nlacht O\n\nNiemand O\n",
        "separated by spaces; word column 1; tags column 2, IOB2",
    ),
    "OntoNotes": (
        "Marta NNP * B-PER\nNovak NNP *) I-PER\nlacht VBZ (VP* O\n\nNiemand NN (NP*) O\n",
        "separated by spaces; word column 1; tags column 4, IOB2",
    ),
    "WNUT": (
        "Marta\tB-PER\nNovak\tI-PER\nlacht\tO\n\nNiemand\tO\n",
        "separated by tabs; word column 1; tags column 2, IOB2",
    ),
    "Label Studio": (
        "-DOCSTART- -X- O\nMarta -X- _ B-PER\nNovak -X- _ I-PER\nlacht -X- _ O\n\n"
        "Niemand -X- _ O\n",
        "separated by spaces; word column 1; tags column 4, IOB2",
    ),
    "GermEval, no inner entity": (
        "#\thttp://x.example\t[2010-01-01]\n1\tMarta\tB-PER\tO\n2\tNovak\tI-PER\tO\n"
        "3\tlacht\tO\tO\n\n#\ty\t[z]\n1\tNiemand\tO\tO\n",
        "separated by tabs; 2 comment lines; word column 2; tags column 3, IOB2",
    ),
    "Universal NER": (
        "# sent_id = 1\n# text = Marta Novak lacht\n1-2\tMartaNovak\t_\t-\t-\n"
        "1\tMarta\tB-PER\t-\tx\n"
        "2\tNovak\tI-PER\t-\tx\n3\tlacht\tO\t-\tx\n3.1\tdas\t_\t-\tx\n\n# x = 2\n"
        "1\tNiemand\tO\t-\tx\n",
        "separated by tabs; 3 comment lines; 2 rows of CoNLL-U that are not words; word column 2; "
        "tags column 3, IOB2",
    ),
}


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_the_columns_of_corpora_are_recognised(path: Path, corpus: str) -> None:
    text, layout = LAYOUTS[corpus]
    labelled = scan(path, text)
    assert (labelled.illegal, labelled.doubtful) == ([], [])
    assert [sentence for sentence in labelled.sentences() if not sentence.is_docstart] == READ
    assert labelled.layout == layout
    last = text.strip().splitlines()[-1].split()
    plain = f"word column 1; tags column {len(last)}," in layout
    assert labelled.plain == plain


NESTED = "# x\n1\tMarta\tB-PER\tO\n2\tGent\tI-PER\tB-LOC\n3\tlacht\tO\tO\n"


def test_two_columns_of_tags_are_refused_until_one_is_chosen(path: Path) -> None:
    said = ": columns 3 and 4 each contain tags: choose with --columns 2,3 or --columns 2,4"
    assert refused(path, NESTED) == said
    words = ["Marta", "Gent", "lacht"]
    for columns, span in ((Columns(2, 3), Span(0, 2, "PER")), (Columns(2, 4), Span(1, 2, "LOC"))):
        assert read_labelled(path, columns=columns) == [Sentence(words, [span])]
    assert refused(path, NESTED, Columns(2, 5)) == ": --columns 2,5: most lines have 4 columns"


def test_of_predictions_the_last_column_is_meant(path: Path) -> None:
    path.write_text("Ada B-PER O\nBo O B-PER\n")  # as for conlleval
    (document,), _ = read_documents(path)
    assert [(mark.start, mark.end) for mark in document.spans] == [(4, 6)]


def test_a_misspelt_tag_is_named_where_chunks_are_well_spelt(path: Path) -> None:
    text = "Ada NNP I-NP I-PER\nlacht VBZ I-VP O\nBo NNP I-NP X-PER\n"
    assert refused(path, text).startswith(":3: 'X-PER' is not an IOB tag")


def test_chunks_are_read_where_there_is_nothing_else(path: Path) -> None:
    labelled = scan(path, "Ada NNP B-NP\nlacht VBZ B-VP\n")
    assert [span.label for span in labelled.located[0].sentence.spans] == ["NP", "VP"]


def test_columns_may_be_chosen_that_are_not_recognised(path: Path) -> None:
    text = "B-PER Ada\nO lacht\n"
    assert refused(path, text).startswith(":1: 'Ada' is not an IOB tag")
    assert read_labelled(path, columns=Columns(2, 1)) == [
        Sentence(["Ada", "lacht"], [Span(0, 1, "PER")])
    ]


@pytest.mark.parametrize("text", ["1", "1,", "0,1", "2,2", "1,2,3", "a,b", "-1,2", "1;2", "²,1"])
def test_columns_are_two_numbers(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_columns(text)
    assert str(caught.value) == (
        f"--columns {text}: expected WORD,TAG, two column numbers such as 1,4"
    )


def test_columns_are_parsed() -> None:
    assert parse_columns(" 2 , 3") == Columns(2, 3)
    assert parse_columns(None) is None


def test_a_hashtag_is_a_word_and_a_comment_is_not(path: Path) -> None:
    labelled = scan(path, "# id = 1\n#\tO\n#Gent\tB-LOC\n# made up\n#lacht\tO\n")
    assert list(labelled.sentences()) == [Sentence(["#", "#Gent", "#lacht"], [Span(1, 2, "LOC")])]
    assert labelled.layout.startswith("separated by tabs; 2 comment lines; ")
    assert not labelled.plain
    assert refused(path, "a O\n#Gent LOC\n").startswith(":2: 'LOC' is not an IOB tag")
    assert scan(path, "a O\n# x\n").layout.startswith("separated by spaces; 1 comment line; ")
    words = scan(path, "#a O\n#b B-LOC\n")
    assert (words.located[0].sentence.words, words.plain) == (["#a", "#b"], True)


WORD = st.text(alphabet="ab1#-", min_size=1, max_size=3)
SPACE = st.sampled_from([" ", "\u00a0", "  ", "\u2009", "\u3000"])


@given(st.lists(st.tuples(st.lists(WORD, min_size=1, max_size=3), SPACE), min_size=1, max_size=6))
def test_words_with_spaces_are_entities_of_several_words(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "spaces.conll"
    text = "a\tO\n" + "".join(f"{space.join(words)}\tB-LOC\n" for words, space in rows)
    labelled = scan(path, text)
    assert labelled.illegal == []
    (sentence,) = labelled.sentences()
    assert sentence.words == ["a", *(word for words, _ in rows for word in words)]
    found = [sentence.words[span.start : span.end] for span in sentence.spans]
    assert found == [words for words, _ in rows]


def test_every_tag_of_a_scheme_goes_over_all_words_of_its_row(path: Path) -> None:
    text = "New York\tS-LOC\ngab\tO\nAnna Maria\tB-PER\nvan der\tI-PER\nBerg Lee\tE-PER\n"
    (sentence,) = scan(path, text).sentences()
    assert sentence.spans == [Span(0, 2, "LOC"), Span(3, 9, "PER")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "New York B-LOC\nlacht O\nnie O\n",
            ":1: has 3 columns; most lines have 2: words with spaces need tabs between the columns",
        ),
        (
            "New York B-LOC\nlacht O\n",
            ":1: has 3 columns; most lines have 2: words with spaces need tabs between the columns",
        ),
        (
            "Ada NNP\tB-PER\nlacht VBZ\tO\n",
            ":1: every word contains a space: separate all columns by tabs, or all by spaces",
        ),
        ("a\tO\n\tB-LOC\n", ":2: the word is empty"),
        ("a O\n\u00a0 B-LOC\n", ":2: the word is empty"),
        ("a\tO\nb O\nc\tO\n", ":2: expected a word and its tag, found 'b O'"),
        (
            "1 a O x\n2 b O x\n3 O\n",
            ":3: has 2 columns; most lines have 4",
        ),
        (
            "Ada lives in Rome.\nBo does not live in Oslo at all.\n",
            ":1: expected a word and its tag (O, B-LABEL or I-LABEL) per line, or JSON, found "
            "'Ada lives in Rome.'; --columns WORD,TAG names the columns",
        ),
        (
            "lonely\n",
            ":1: expected a word and its tag (O, B-LABEL or I-LABEL) per line, or JSON, found "
            "'lonely'; --columns WORD,TAG names the columns",
        ),
    ],
)
def test_what_might_be_read_wrongly_is_refused(path: Path, text: str, said: str) -> None:
    assert refused(path, text) == said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "utf-16-le", "utf-32-be"])
def test_a_signature_names_the_encoding(path: Path, encoding: str) -> None:
    text = "Zoë\tB-PER\r\n東京\tB-LOC\r\n"
    signature = "" if encoding in ("utf-16", "utf-32", "utf-8-sig") else "\ufeff"
    path.write_bytes((signature + text).encode(encoding))
    (sentence,) = read_labelled(path)
    assert sentence == Sentence(["Zoë", "東京"], [Span(0, 1, "PER"), Span(1, 2, "LOC")])


def test_what_is_no_text_is_one_line(path: Path) -> None:
    path.write_bytes(b"\xff\xfea")
    with pytest.raises(DataError, match="starts with a UTF-16 signature, but is not valid UTF-16"):
        read_labelled(path)
    path.write_bytes("Ada O\nZoë B-PER\n".encode("cp1252"))
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert str(caught.value) == f"{path}:2: not UTF-8 text (byte 0xeb): save the file as UTF-8"
