"""CoNLL columns: a word and its tag per line, blank lines between sentences."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ner_edge.data.corpus import DOCSTART, Problem, shortened
from ner_edge.data.documents import Document
from ner_edge.data.formats.columns import Columns, is_counting, is_no_word, tag_columns
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.encoding import decoded
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.words import sentences_to_write
from ner_edge.data.schemes import SCHEMES, spelt_like_a_tag
from ner_edge.data.tagged import Row, Tagged
from ner_edge.errors import DataError
from ner_edge.spans import Span
from ner_edge.terminal.counts import counted

WANTED = "a word and its tag (O, B-LABEL or I-LABEL) per line"


class _Line(NamedTuple):
    number: int
    text: str
    cells: list[str]

    @property
    def is_docstart(self) -> bool:
        # It may follow a number.
        return DOCSTART in self.text and DOCSTART in self.text.split(maxsplit=2)[:2]


class _Layout(NamedTuple):
    """How to read the lines of a whole file."""

    tabs: bool
    width: int
    numbered: bool
    columns: Columns
    tagged: bool = True
    """Whether tags are read."""

    def is_comment(self, line: _Line) -> bool:
        """Whether a line is a comment; a hashtag with the columns of a row is a word."""
        if not line.text.startswith("#"):
            return False
        if self.numbered or len(line.cells) != self.width:
            return True
        # `# id 1` is a comment too, but `#word X-LOC` is a row with a wrong tag.
        tag = line.cells[self.columns.tag - 1]
        return line.cells[0] == "#" and self.width > 1 and not spelt_like_a_tag(tag)

    def tag_in(self, cells: list[str]) -> str:
        return cells[min(self.columns.tag, len(cells)) - 1] if self.tagged else "O"


def read_conll(path: Path, data: bytes, options: ReadOptions) -> Contents:
    """Read columns separated by tabs, if most lines have one, else by spaces.

    The word is in the first column, or in the second if the first numbers the words; the tag is
    where `tag_columns` finds it; the option `columns` overrides both. A `-DOCSTART-` line is a
    sentence by itself. If several columns contain tags, the last one is read if `predicted`. If
    `texts_only`, all tags are O, and none need be there. Raises `DataError` if there is no column
    of tags otherwise, or several.
    """
    contents = Contents("CoNLL")
    texts = list(_decode(data, contents))
    tabs = _has_tabs(texts)
    blocks = _blocks(texts, tabs)
    if not blocks:
        return contents
    layout = _find_layout(path, blocks, tabs, options)
    comments = no_words = 0
    for block in blocks:
        rows: Tagged = []
        for line in block:
            if line.is_docstart:
                contents.records.append([Row(line.number, DOCSTART, "O")])
            elif layout.is_comment(line):
                comments += 1
            elif layout.numbered and is_no_word(line.cells):
                no_words += 1
            else:
                rows.append(_row(line, layout, contents))
        if rows:
            contents.records.append(rows)
    _note_ignored(layout, comments, contents)
    spaced = _have_spaces(layout, contents)
    contents.layout = _describe(layout, comments, no_words)
    contents.plain = layout.columns == (1, layout.width) and not (spaced or comments)
    return contents


def _note_ignored(layout: _Layout, comments: int, contents: Contents) -> None:
    read = {*layout.columns, *([1] if layout.numbered else [])}
    if others := sorted(set(range(1, layout.width + 1)) - read):
        contents.ignored.add(f"column {', '.join(map(str, others))}")
    if comments:
        contents.ignored.add("comment lines")


def _decode(data: bytes, contents: Contents) -> Iterator[str]:
    for number, line in enumerate(data.split(b"\n"), 1):
        text, wrong = decoded(line)
        if wrong:
            contents.illegal.append(Problem(number, wrong))
        yield text


def _has_tabs(texts: list[str]) -> bool:
    filled = [text for text in texts if text.strip()]
    filled = [text for text in filled if not text.startswith("#")] or filled
    return 2 * sum("\t" in text for text in filled) > len(filled)


def _describe(layout: _Layout, comments: int, no_words: int) -> str:
    parts = [f"separated by {'tabs' if layout.tabs else 'spaces'}"]
    if comments:
        parts.append(counted(comments, "comment line"))
    if no_words:
        parts.append(f"{counted(no_words, 'row')} of CoNLL-U that are not words")
    parts.append(f"word column {layout.columns.word}; tags column {layout.columns.tag}")
    return "; ".join(parts)


def _blocks(texts: list[str], tabs: bool) -> list[list[_Line]]:
    """Split the lines at blank ones; a `-DOCSTART-` line is a block by itself."""
    blocks: list[list[_Line]] = [[]]
    for number, text in enumerate(texts, 1):
        if not text.strip():
            blocks.append([])
            continue
        if tabs:
            cells = [cell.strip() for cell in text.split("\t")]
        else:  # other white space is part of a word
            cells = [cell for cell in text.rstrip("\r").split(" ") if cell]
            if "\t" in text:
                cells = [part for cell in cells for part in cell.split("\t") if part]
        line = _Line(number, text, cells)
        if line.is_docstart:
            blocks += [[line], []]
        else:
            blocks[-1].append(line)
    return [block for block in blocks if block]


def _find_layout(
    path: Path, blocks: list[list[_Line]], tabs: bool, options: ReadOptions
) -> _Layout:
    columns = options.columns
    rows = list(_rows(blocks, hashes=False)) or list(_rows(blocks, hashes=True))
    if not rows:  # only -DOCSTART- lines
        return _Layout(tabs, 2, False, columns or Columns(1, 2))
    width = _most_frequent_width(rows)
    needed = 1 if options.texts_only else 2  # columns beside the numbers
    numbered = width > needed and is_counting([line.cells for line in block] for block in rows)
    if options.texts_only:
        return _Layout(tabs, width, numbered, Columns(2 if numbered else 1, width), tagged=False)
    if columns is None:
        usual = [line.cells for block in rows for line in block if len(line.cells) == width]
        if numbered:
            usual = [cells for cells in usual if not is_no_word(cells)] or usual
        word = 2 if numbered else 1
        candidates = tag_columns(usual, word, width)
        columns = _chosen(
            path, rows[0][0], usual, word, candidates[-1:] if options.predicted else candidates
        )
    elif max(columns) > width:
        raise DataError(
            f"{path}: --columns {columns.word},{columns.tag}: most lines have "
            f"{counted(width, 'column')}"
        )
    return _Layout(tabs, width, numbered, columns)


def _most_frequent_width(blocks: list[list[_Line]]) -> int:
    """Return the usual number of cells; of two equally frequent ones, the smaller above 1, so that
    words with spaces are noticed."""
    widths = Counter(len(line.cells) for block in blocks for line in block)
    return min(widths, key=lambda width: (-widths[width], width < 2, width))


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
        raise DataError(f"{path}: columns {columns} each contain tags: choose with {flags}")
    if len(usual[0]) != 2 and not any(
        spelt_like_a_tag(cells[candidates[0] - 1]) for cells in usual
    ):
        raise DataError(
            f"{path}:{first.number}: expected {WANTED}, or JSON, found "
            f"{shortened(first.text.strip())}; --columns WORD,TAG names the columns"
        )
    return Columns(word, candidates[0])


def _row(line: _Line, layout: _Layout, contents: Contents) -> Row:
    """Return the row of a line, adding what is wrong with it to `contents`."""
    cells, (word, tag) = line.cells, layout.columns
    if len(cells) == layout.width and (layout.width > 1 or not layout.tagged):
        return Row(line.number, cells[word - 1], layout.tag_in(cells))
    if len(cells) < 2:
        message = f"expected a word and its tag, found {shortened(line.text.strip())}"
        contents.illegal.append(Problem(line.number, message))
        return Row(line.number, cells[0] or "?", "O")
    found = f"has {counted(len(cells), 'column')}; most lines have {layout.width}"
    # A tag in the last column is the last of a shorter line too.
    short = len(cells) < max(word, tag) and not (word < len(cells) and tag == layout.width)
    if short or (len(cells) > layout.width and not layout.tabs):
        advice = "" if short else ": words with spaces need tabs between the columns"
        contents.illegal.append(Problem(line.number, found + advice))
        return Row(line.number, cells[0] or "?", "O")
    contents.doubtful.append(Problem(line.number, found))
    return Row(line.number, cells[word - 1], layout.tag_in(cells))


def _have_spaces(layout: _Layout, contents: Contents) -> bool:
    """Whether any word contains white space. If every word does, spaces separate columns as well as
    tabs, which is illegal."""
    rows = [row for rows in contents.records if isinstance(rows, list) for row in rows]
    rows = [row for row in rows if row.word != DOCSTART]
    spaced = [" " in row.word for row in rows]
    if layout.tabs and len(spaced) > 1 and all(spaced):
        message = "every word contains a space: separate all columns by tabs, or all by spaces"
        contents.illegal.append(Problem(rows[0].line, message))
    return any(len(row.word.split()) > 1 for row in rows)


def write_conll(
    documents: Iterable[Document],
    losses: Losses,
    *,
    scheme: str = next(iter(SCHEMES)),
    separator: str = " ",
) -> Iterator[str]:
    """Yield each sentence: a word and its tag per line, then a blank line.

    Raises `DataError` for a label that contains the separator.
    """
    for document in documents:
        if document.is_docstart:
            yield f"{DOCSTART}{separator}O\n\n"
            continue
        for sentence in sentences_to_write(document, losses, _fits):
            tags = SCHEMES[scheme](sentence.spans, len(sentence.words))
            _check_labels(sentence.spans, separator)
            rows = zip(sentence.words, tags, strict=True)
            yield "".join(f"{word}{separator}{tag}\n" for word, tag in rows) + "\n"


def _fits(word: str) -> bool:
    return word != DOCSTART and not word.startswith("\ufeff")  # which lines may begin with


def _check_labels(spans: Iterable[Span], separator: str) -> None:
    for span in spans:
        if separator in span.label or span.label.strip() != span.label:
            advice = "" if separator == "\t" else "; --separator tab allows spaces in it"
            raise DataError(f"the label {shortened(span.label)} does not fit CoNLL columns{advice}")
