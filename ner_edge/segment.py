"""Split raw text into sentences and words, as CoNLL-2003 does, with character offsets."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from ner_edge.visible import VisibleText, is_blank

MAX_WORD = 200
"""Words of more characters (code points) are split."""
MAX_WORDS = 120
"""Longer sentences are split."""


class Word(NamedTuple):
    """A word; `text` is the visible part of the original text from `start` to `end`.

    Offsets count code points and are half-open.
    """

    text: str
    start: int
    end: int


def segment(text: str, *, max_words: int = MAX_WORDS) -> Iterator[list[Word]]:
    """Yield the sentences of `text` in order, each a non-empty list of words in order.

    White space, control characters and lone surrogates (which tokenizers reject) separate words;
    every other visible character is in exactly one word. In scripts without spaces, each character
    with its marks is a word. Sentences of more than `max_words` (at least 1) are split, after a
    comma, colon or semicolon if possible.
    """
    visible = VisibleText(text)
    text = visible.text
    shape = shape_of(text)
    for start, end in _sentences(shape):
        words = []
        for first, last in _words(shape, start, end):
            for i in range(first, last, MAX_WORD):
                begin, stop = trimmed(text, i, min(i + MAX_WORD, last))  # a split may leave joiners
                words.append(Word(text[begin:stop], visible.start(begin), visible.end(stop)))
        yield from _split(words, max_words)


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return `start` and `end` moved inwards past white space and invisible characters."""
    while start < end and is_blank(text[start]):
        start += 1
    while start < end and is_blank(text[end - 1]):
        end -= 1
    return start, end


_MARK, _SIGN = "\u0301\u3013"
_SHAPE_OF = {"Mn": _MARK, "Mc": _MARK, "Me": _MARK, "Cf": _MARK, "Cc": " ", "Cs": " "}
# Kana, Bopomofo and Han, and the scripts of Unicode's line breaking class SA: Thai, Lao, Burmese,
# Khmer, Tai Le, New Tai Lue, Tai Tham, Tai Viet, Ahom.
_UNSPACED = re.compile(
    "[\u3005-\u3007\u3041-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
    "\U00011700-\U0001173f]"
)
# Continuations of a character: a joined emoji, the second half of a flag, a stacked consonant.
_JOINED = re.compile("\u200d[^\\w\\s]|[\U0001f1e6-\U0001f1ff]{2}|[\u1039\u17d2\u1a60]\\w")


def shape_of(text: str) -> str:
    """Return the *shape* of a text, which is equally long.

    It has U+0301 in place of each character that modifies or belongs to the one before it, U+3013
    for each character that is a word by itself, and a space for each character that cannot be part
    of a word.
    """
    shapes = {ord(c): _shape_of_character(c) for c in set(text) - {"\n"}}
    text = _JOINED.sub(lambda pair: pair[0][0] + _MARK, text)
    return text.translate({c: shape for c, shape in shapes.items() if shape})


def _shape_of_character(character: str) -> str | None:
    category = unicodedata.category(character)
    if category[0] in "LN" and _UNSPACED.match(character):
        return _SIGN
    return _MARK if "\U0001f3fb" <= character <= "\U0001f3ff" else _SHAPE_OF.get(category)


_SPACE = re.compile(r"\s")
_BREAK = re.compile(r"\n\s*\n|(?P<stop>[。！？｡។။]+\u0301*[」』”’）]*)")
# nupunkt takes quadratic time for runs of punctuation; a window bounds it.
_WINDOW = 2000


def _sentences(shape: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of sentences; between them is only white space."""
    start = 0
    for found in _BREAK.finditer(shape):
        end = found.end() if found["stop"] else found.start()
        yield from _sentences_of_paragraph(shape, start, end)
        start = found.end()
    yield from _sentences_of_paragraph(shape, start, len(shape))


def _sentences_of_paragraph(shape: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    import nupunkt  # here, because it takes 50 ms

    while start < end:
        stop = min(start + _WINDOW, end)
        window = shape[start:stop]
        spans = [(start + i, start + j) for i, j in nupunkt.sentence_spans(window)]
        if stop < end and spans:
            last = spans.pop()[0]  # it may go on beyond the window: begin the next one there,
            if last >= start + _WINDOW // 2:
                stop = last
            else:  # unless the sentence is so long that it must be split, between words
                space = start + window.rfind(" ")
                stop = space if space > last else _next_space(shape, stop, end)
                spans.append((last, stop))
        yield from spans
        start = stop


def _next_space(shape: str, start: int, end: int) -> int:
    found = _SPACE.search(shape, start, end)
    return found.start() if found else end


# Only these keep their dot before a capital. A missing one costs a dot, a wrong one may cost more.
_ABBREVIATIONS = (
    "Adm Assn Assoc Ave Bldg Blvd Brig Bros Capt Cie Cmdr Co Col Corp Cos Cpl Dept Dist Dr Drs Esq"
    " Est Fr Ft Gen Gov Govt Hon Inc Jr Lt Ltd Maj Messrs Mfg Mgr Mme Mlle Mr Mrs Ms Msgr Mt Nos"
    " Ph Pres Prof Pty Pvt Rep Reps Rev Rt Sen Sens Sgt Sr St Ste Supt Univ"
    " Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thurs Fri Sat Sun"
    " Ala Ariz Ark Calif Colo Conn Del Fla Ga Ill Ind Kan Ky La Mass Md Mich Minn Miss Mo Mont Neb"
    " Nev Okla Ont Ore Pa Penn Que Tenn Tex Va Vt Wash Wis Wyo"
    " No Art Ed Eds Fig Figs Op Pp Sec Vol vs al approx art bn ca cf dept ed eds est etc fig max"
    " min mn no nos op pct pp sec vol"
)
_WORD = re.compile(
    r"""
      [^\W\d_]+ (?= [\s,] )                                      # most words, quickly
    | (?: https?:// | www\. ) [^\s<>"\u3013]* [\w/\u0301]             # a web address
    | [#@] [\w\u0301]+                                          # a hashtag, a mention
    | [A-Z]{1,3} \$                                             # US$  C$
    | (?<! [\w\u0301] ) [+-]? \.? \d+ (?: [.,:/-] \d+ )*        # 1,000.5  1996-08-22  6-4  .500
      (?: \. (?= \s+ \S ) | [\w\u0301]* (?: [-&'’/] [\w\u0301]+ )* )  # 1. Smith  20th-century
    | (?: (?: ABBREVIATIONS ) \.                                # Mr.
      | (?: [^\W\d_] \. )+ (?! [\w\u0301] )                    # U.S.
      | [A-Z] \. (?= [A-Z][a-z] )                               # J.Smith
      | [\w\u0301]+ \. (?= \s* [,;:] | \s+ [a-z] )              # the sentence goes on
      | [\w\u0301]+
      )
      (?: (?: \.? [-&@+'’] | \. (?! [A-Z][a-z] ) ) [\w\u0301]+ )*  # one-day  O'Brien  S&P  a@b.org
      (?: (?<= \.[A-Za-z] ) \. )?                               # the last dot of Iraq-U.N.
    | ['’] (?i: s | re | ve | ll | d | m ) (?! \w )             # a clitic that stands alone
    | ( [-.*=~!?'`] ) \1+ \u0301*                               # --  ...  **
    | \S \u0301*
    """.replace("ABBREVIATIONS", r"\b(?:" + _ABBREVIATIONS.replace(" ", "|") + ")"),
    re.VERBOSE,
)
_PAUSES = {",", ";", ":", "--", "，", "、", "；", "："}
_CLITIC = re.compile(r"(?: n['’]t | ['’] (?: s | re | ve | ll | d | m ) ) \Z", re.VERBOSE | re.I)


def _words(shape: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    # A sentence's last dot is a word of its own, even after an abbreviation.
    core = end
    while core > start and not (shape[core - 1].isalnum() or shape[core - 1] in (_MARK, _SIGN)):
        core -= 1
    if core == start or shape[core : core + 1] != "." or shape[core + 1 : core + 2] in (")", "]"):
        core = end
    for begin, stop in ((start, core), (core, end)):
        for match in _WORD.finditer(shape, begin, stop):
            first, last = match.span()
            word = match.group()
            if ("'" in word or "’" in word) and (clitic := _CLITIC.search(word, 1)):
                yield first, first + clitic.start()
                first += clitic.start()
            yield first, last


def _split(words: list[Word], max_words: int) -> Iterator[list[Word]]:
    """Split a sentence after `max_words`, or after the last pause in the second half of those."""
    start = 0
    while len(words) - start > max_words:
        pauses = range(start + max_words, start + max_words // 2, -1)
        stop = next((i for i in pauses if words[i - 1].text in _PAUSES), start + max_words)
        yield words[start:stop]
        start = stop
    if words[start:]:
        yield words[start:]
