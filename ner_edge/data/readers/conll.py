"""CoNLL columns: a word and its tag per line, blank lines between sentences."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ner_edge.data.corpus import DOCSTART, Problem, shortened
from ner_edge.data.readers.columns import Columns, is_counting, is_no_word, tag_columns
from ner_edge.data.readers.contents import Contents
from ner_edge.data.readers.encoding import decoded
from ner_edge.data.schemes import spelt_like_a_tag
from ner_edge.data.tagged import Row, Tagged
from ner_edge.errors import DataError
from ner_edge.terminal.counts import counted

WANTED = "a word and its tag (O, B-LABEL or I-LABEL) per line"


class _Line(NamedTuple):
    number: int
    text: str
    cells: list[str]

    @property
    def is_docstart(self) -> bool:
        # Perhaps behind a number.
        return DOCSTART in self.text and DOCSTART in self.text.split(maxsplit=2)[:2]


class _Shape(NamedTuple):
    """What was decided for a whole file."""

    tabs: bool
    width: int
    counting: bool
    columns: Columns

    def is_comment(self, line: _Line) -> bool:
        """A line is a row, even if its word is a hashtag, where it has the columns of a row."""
        if not line.text.startswith("#"):
            return False
        if self.counting or len(line.cells) != self.width:
            return True
        # `# id 1` is none either, but `#word X-LOC` is a row with a wrong tag.
        return line.cells[0] == "#" and not spelt_like_a_tag(line.cells[self.columns.tag - 1])


def read_conll(
    path: Path, data: bytes, columns: Columns | None = None, *, predicted: bool = False
) -> Contents:
    """Columns separated by tabs, if most lines have one, else by spaces.

    The word is in the first column, or in the second if the first numbers the words; the tag is
    where `tag_columns` says; `columns` overrules both. A `-DOCSTART-` line is a sentence by itself.
    Of several columns of tags the last is the `predicted` one. Raises `DataError` if the tags may
    be in several columns else, or in none.
    """
    contents = Contents("CoNLL")
    texts = []
    for number, undecoded in enumerate(data.split(b"\n"), 1):
        text, wrong = decoded(undecoded)
        if wrong:
            contents.illegal.append(Problem(number, wrong))
        texts.append(text)
    filled = [text for text in texts if text.strip()]
    filled = [text for text in filled if not text.startswith("#")] or filled
    tabs = 2 * sum("\t" in text for text in filled) > len(filled)
    blocks = _blocks(texts, tabs)
    if not blocks:
        return contents
    shape = _shape(path, blocks, tabs, columns, predicted)
    comments = no_words = 0
    for block in blocks:
        rows: Tagged = []
        for line in block:
            if line.is_docstart:
                contents.records.append([Row(line.number, DOCSTART, "O")])
            elif shape.is_comment(line):
                comments += 1
            elif shape.counting and is_no_word(line.cells):
                no_words += 1
            else:
                rows.append(_row(line, shape, contents))
        if rows:
            contents.records.append(rows)
    spaced = _spaced(shape, contents)
    word, tag = shape.columns
    parts = [f"separated by {'tabs' if tabs else 'spaces'}"]
    if comments:
        parts.append(counted(comments, "comment line"))
    if no_words:
        parts.append(f"{counted(no_words, 'row')} of CoNLL-U that are no words")
    parts.append(f"word column {word}; tags column {tag}")
    contents.layout = "; ".join(parts)
    contents.plain = (word, tag) == (1, shape.width) and not (spaced or comments)
    return contents


def _blocks(texts: list[str], tabs: bool) -> list[list[_Line]]:
    """The lines between blank ones and `-DOCSTART-` lines, each of which is a block by itself."""
    blocks: list[list[_Line]] = [[]]
    for number, text in enumerate(texts, 1):
        if not text.strip():
            blocks.append([])
            continue
        if tabs:
            cells = [cell.strip() for cell in text.split("\t")]
        else:  # any other white space is part of a word
            cells = [cell for cell in text.rstrip("\r").split(" ") if cell]
            if "\t" in text:
                cells = [part for cell in cells for part in cell.split("\t") if part]
        line = _Line(number, text, cells)
        if line.is_docstart:
            blocks += [[line], []]
        else:
            blocks[-1].append(line)
    return [block for block in blocks if block]


def _shape(
    path: Path, blocks: list[list[_Line]], tabs: bool, columns: Columns | None, predicted: bool
) -> _Shape:
    sure = list(_rows(blocks, hashes=False)) or list(_rows(blocks, hashes=True))
    widths = Counter(len(line.cells) for block in sure for line in block)
    if not widths:  # nothing but -DOCSTART- lines
        return _Shape(tabs, 2, False, columns or Columns(1, 2))
    # If in doubt the narrower, so that words with spaces are seen as such.
    width = min(widths, key=lambda width: (-widths[width], width < 2, width))
    usual = [line.cells for block in sure for line in block if len(line.cells) == width]
    counting = width > 2 and is_counting([line.cells for line in block] for block in sure)
    if counting:
        usual = [cells for cells in usual if not is_no_word(cells)] or usual
    if columns is None:
        word = 2 if counting else 1
        candidates = tag_columns(usual, word, width)
        columns = _chosen(
            path, sure[0][0], usual, word, candidates[-1:] if predicted else candidates
        )
    elif max(columns) > width:
        raise DataError(
            f"{path}: --columns {columns.word},{columns.tag}: most lines have "
            f"{counted(width, 'column')}"
        )
    return _Shape(tabs, width, counting, columns)


def _rows(blocks: list[list[_Line]], *, hashes: bool) -> Iterator[list[_Line]]:
    for block in blocks:
        rows = [
            line
            for line in block
            if not line.is_docstart and (hashes or not line.text.startswith("#"))
        ]
        if rows:
            yield rows


def _chosen(
    path: Path, first: _Line, usual: list[list[str]], word: int, candidates: list[int]
) -> Columns:
    if len(candidates) > 1:
        columns = " and ".join(map(str, candidates))
        flags = " or ".join(f"--columns {word},{tag}" for tag in candidates)
        raise DataError(f"{path}: columns {columns} hold tags each: choose with {flags}")
    if len(usual[0]) != 2 and not any(
        spelt_like_a_tag(cells[candidates[0] - 1]) for cells in usual
    ):
        raise DataError(
            f"{path}:{first.number}: expected {WANTED}, or JSON, found "
            f"{shortened(first.text.strip())}; --columns WORD,TAG says where they are"
        )
    return Columns(word, candidates[0])


def _row(line: _Line, shape: _Shape, contents: Contents) -> Row:
    """The row of a line, and what is wrong with it."""
    cells, (word, tag) = line.cells, shape.columns
    if len(cells) == shape.width > 1:
        return Row(line.number, cells[word - 1], cells[tag - 1])
    if len(cells) < 2:
        message = f"expected a word and its tag, found {shortened(line.text.strip())}"
        contents.illegal.append(Problem(line.number, message))
        return Row(line.number, cells[0] or "?", "O")
    found = f"has {counted(len(cells), 'column')}; most lines have {shape.width}"
    # Where the tag is in the last column, it is so in a shorter line too.
    short = len(cells) < max(word, tag) and not (word < len(cells) and tag == shape.width)
    if short or (len(cells) > shape.width and not shape.tabs):
        advice = "" if short else ": words with spaces need tabs between the columns"
        contents.illegal.append(Problem(line.number, found + advice))
        return Row(line.number, cells[0] or "?", "O")
    contents.doubtful.append(Problem(line.number, found))
    return Row(line.number, cells[word - 1], cells[min(tag, len(cells)) - 1])


def _spaced(shape: _Shape, contents: Contents) -> bool:
    """Do any words hold white space? If all do, tabs are not all that separates the columns."""
    rows = [row for rows in contents.records if isinstance(rows, list) for row in rows]
    rows = [row for row in rows if row.word != DOCSTART]
    spaced = [" " in row.word for row in rows]
    if shape.tabs and len(spaced) > 1 and all(spaced):
        message = "every word holds a space: separate all columns by tabs, or all by spaces"
        contents.illegal.append(Problem(rows[0].line, message))
    return any(len(row.word.split()) > 1 for row in rows)
