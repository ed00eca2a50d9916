import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ner_edge.segment import MAX_WORD, Word, segment, trimmed
from ner_edge.visible import MAX_MARKS, is_blank

# Letters join, punctuation decides where words end, and the rest is what breaks splitters.
tricky = st.text(
    st.sampled_from(
        "aBcU.'’,-:/@#$%&()[]|\"!? \n\t\r\x00\x0c\x1c\x85\u2028\xa0\u0301\u200d\ud83d😀é1字"
        "\u200b\xad\u200c\ufe0f\u200e\ufeffمक्ไ่👩🇩"
    )
)
any_text = st.one_of(tricky, st.text(st.characters()))


def skipped(character: str) -> bool:
    return is_blank(character) or unicodedata.category(character) in ("Cc", "Cs")


def words_of(text: str) -> list[str]:
    return [word.text for sentence in segment(text) for word in sentence]


def sentences_of(text: str) -> list[str]:
    return [" ".join(word.text for word in sentence) for sentence in segment(text)]


def visible(text: str) -> str:
    """Return `text` without blanks and excess marks."""
    kept = []
    marks = 0
    for character in text:
        if not is_blank(character):
            marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            kept += [character] if marks <= MAX_MARKS else []
    return "".join(kept)


@settings(deadline=None)
@given(any_text)
def test_words_are_slices_in_order_and_cover_the_text(text: str) -> None:
    sentences = list(segment(text))
    assert all(sentences)
    position = 0
    for word in (word for sentence in sentences for word in sentence):
        assert visible(word.text) == visible(text[word.start : word.end])
        assert not is_blank(word.text[0])
        assert not is_blank(word.text[-1])
        assert trimmed(text, word.start, word.end) == word[1:]
        assert all(skipped(character) for character in text[position : word.start])
        assert not any(skipped(c) for c in word.text if c not in "\u200c\u200d")
        position = word.end
    assert all(skipped(character) for character in text[position:])


@given(any_text)
@example("#\u0928\u092e\u0938\u094d\u0924\u0947 @Jose\u0301 1-e\u0301 --\u0301")
@example("\u3002\u0301a")
def test_a_mark_stays_with_what_it_is_on(text: str) -> None:
    for sentence in segment(text):
        for word in sentence:
            if unicodedata.category(word.text[0])[0] == "M" and len(text) < MAX_WORD:
                before = [c for c in text[: word.start] if not is_blank(c) or c.isspace()]
                assert not before or skipped(before[-1])


@settings(deadline=None)
@given(any_text, st.integers(1, 9))
def test_no_sentence_is_longer_than_asked_and_cutting_loses_no_word(text: str, limit: int) -> None:
    sentences = list(segment(text, max_words=limit))
    assert all(1 <= len(sentence) <= limit for sentence in sentences)
    assert [w for s in sentences for w in s] == [w for s in segment(text) for w in s]


@pytest.mark.parametrize("text", ["", " \n\t ", "\x00\x85\ud800", "\n\n\n"])
def test_a_text_without_words_has_no_sentence(text: str) -> None:
    assert list(segment(text)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\u200eAda\u200f, ok", [Word("Ada", 1, 4), Word(",", 5, 6), Word("ok", 7, 9)]),
        ("Em\xadma\u200b\ufeff.", [Word("Emma", 0, 5), Word(".", 7, 8)]),
        ("e" + "\u0301" * 9 + "\u200b!", [Word("e" + "\u0301" * 4, 0, 10), Word("!", 11, 12)]),
        ("\u200b\u0301\u200b\u0301\u200b", [Word("\u0301\u0301", 1, 4)]),
        ("❤\ufe0f\u200d🔥\u200d.", [Word("❤\u200d🔥", 0, 4), Word(".", 5, 6)]),
    ],
)
def test_offsets_are_those_of_the_text_with_its_invisible_characters(
    text: str, words: list[Word]
) -> None:
    assert list(segment(text)) == [words]


def test_trimmed_takes_spaces_and_invisible_characters_off() -> None:
    assert trimmed("a \u200eAda B\xad\u200f\n", 1, 10) == (3, 8)
    assert trimmed("\u200b \u200b", 0, 3) == (3, 3)


def test_offsets_count_code_points() -> None:
    assert list(segment("😀 Zürich!")) == [
        [Word("😀", 0, 1), Word("Zürich", 2, 8), Word("!", 8, 9)]
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't ask Anna's aunt.", "Do n't ask Anna 's aunt ."),
        ("We've, they’re, I'LL", "We 've , they ’re , I 'LL"),
        ("O'Brien's dogs' o'clock", "O'Brien 's dogs ' o'clock"),
        ("England 's one-day side", "England 's one-day side"),
        ("Paid $1,000.50 or C$2.5 (3%).", "Paid $ 1,000.50 or C$ 2.5 ( 3 % ) ."),
        ("On 1996-08-22 at 2:29.34, 6-4", "On 1996-08-22 at 2:29.34 , 6-4"),
        ("a 1/2 share, +49 and .500", "a 1/2 share , +49 and .500"),
        ('"Yes," he said.', '" Yes , " he said .'),
        ("[one] {two} (three)", "[ one ] { two } ( three )"),
        ("a | b", "a | b"),
        ("Mr. J. P. Roe of St. Ives", "Mr. J. P. Roe of St. Ives"),
        ("U.S. and U.N.-led forces", "U.S. and U.N.-led forces"),
        ("Roe (U.S.) beat Poe (U.K.) easily", "Roe ( U.S. ) beat Poe ( U.K. ) easily"),
        ("They met in the U.S.", "They met in the U.S ."),
        ("AT&T -- at last ... rose", "AT&T -- at last ... rose"),
        ("Mail jo.roe@mail-box.org, now", "Mail jo.roe@mail-box.org , now"),
        ("See https://a.org/b?c=d, or www.b.de.", "See https://a.org/b?c=d , or www.b.de ."),
        ("#Brexit says @jo_roe", "#Brexit says @jo_roe"),
        ("1. Jane Roe and/or 20th-century", "1. Jane Roe and / or 20th-century"),
        ("cafe\u0301s e\u0301", "cafe\u0301s e\u0301"),
        ("हिन्दी में", "हिन्दी में"),
        ("Rome🎉🎉 ❤\ufe0f!", "Rome 🎉 🎉 ❤ !"),
        ("👩\u200d👩\u200d👧🇩🇪🇫🇷👋🏽", "👩\u200d👩\u200d👧 🇩🇪 🇫🇷 👋🏽"),
        ("❤\ufe0f\u200d🔥1\ufe0f\u20e3", "❤\u200d🔥 1\u20e3"),
        ("\u200eAngela Merkel\u200f \ufeffAda", "Angela Merkel Ada"),
        ("Em\xadmanuel\u200b.", "Emmanuel ."),
        ("می\u200cخواهم क्\u200dष x\u200dy", "می\u200cخواهم क्\u200dष xy"),
        ("王芳住在New York，2024年。", "王 芳 住 在 New York ， 2024 年 。"),
        ("東京タワーへ", "東 京 タ ワ ー へ"),
        ("ไปที่กรุงเทพ 25 ก.", "ไ ป ที่ ก รุ ง เ ท พ 25 ก ."),
        ("ລາວ ខ្មែរ မြန်မာ", "ລ າ ວ ខ្មែ រ မြ န် မာ"),
        ("서울에서 만나요", "서울에서 만나요"),
    ],
)
def test_words_are_those_of_conll(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rained. We left.", ["It rained .", "We left ."]),
        ("Mr. Roe saw Dr. Poe. He left!", ["Mr. Roe saw Dr. Poe .", "He left !"]),
        ('"Go!" she said. He went.', ['" Go ! " she said .', "He went ."]),
        ("Who? Me? Yes.", ["Who ?", "Me ?", "Yes ."]),
        ("a line\nthat goes on", ["a line that goes on"]),
        ("A headline\n\nThe story", ["A headline", "The story"]),
        ("A headline\r\n \r\nThe story", ["A headline", "The story"]),
        ("A headline\n\u200b\nThe story", ["A headline", "The story"]),
        ("王芳。「好！」走", ["王 芳 。", "「 好 ！ 」", "走"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


def test_words_of_the_training_format_come_back() -> None:
    sentences = [
        "Vera Okoro , who signed for Leeds in May , did n't play .",
        '" We are n\'t in the U.S. to talk , " Mr. Lindqvist said .',
        "Shares of Harlan & Sons Inc. fell 2.5 percent to $ 31 on Monday .",
        "1. Ana Prado ( Brazil ) 2:03.41",
        "Kiel 2 Mainz 1 -- Attendance : 8,500",
    ]
    assert sentences_of("\n\n".join(sentences)) == sentences


def test_a_word_longer_than_the_cap_is_cut_into_pieces() -> None:
    pieces = words_of("x" * (2 * MAX_WORD + 1))
    assert [len(piece) for piece in pieces] == [MAX_WORD, MAX_WORD, 1]


def test_a_long_sentence_is_cut_after_a_pause_of_its_second_half() -> None:
    [first, second] = segment("a , b c d , e f g h", max_words=8)
    assert [word.text for word in first] == ["a", ",", "b", "c", "d", ","]
    assert [word.text for word in second] == ["e", "f", "g", "h"]
    assert [len(sentence) for sentence in segment("a b c d e", max_words=2)] == [2, 2, 1]


def test_sentences_are_the_same_wherever_the_window_falls() -> None:
    """Long texts are segmented in windows, and no sentence may be split at the edge of one."""
    sentence = "Vera Okoro of Leeds City met Mr. Lindqvist on Monday ."
    assert sentences_of(" ".join([sentence] * 300)) == [sentence] * 300


def test_a_long_address_is_one_run_wherever_the_window_falls() -> None:
    words = words_of("See https://example.org/" + "a1-b2/" * 10_000 + " for more")
    assert (words[0], words[-2:]) == ("See", ["for", "more"])
    assert all(len(word) == MAX_WORD for word in words[1:-3])


@pytest.mark.parametrize(
    "garbage",
    [
        "x",
        "“",
        "?!",
        ".)",
        "\n",
        " \n",
        "a.",
        "' ",
        "www.!",
        "\u0301",
        "1. ",
        "http://!",
        "   . A",
        "字",
        "ไ่",
        "\u200b",
        "\u0301\u200b",
        "👩\u200d",
        "x\u200b",
        "क\u200d",
    ],
)
def test_garbage_takes_linear_time(garbage: str) -> None:
    """100 000 characters take half a second; in quadratic time they would take over ten."""
    text = (garbage * 100_000)[:100_000]
    start = time.process_time()
    words = words_of(text)
    assert time.process_time() - start < 6
    assert visible("".join(words)) == visible(text)
    assert not any(is_blank(character) for word in words for character in (word[0], word[-1]))
