"""brat's standoff format: a text in `NAME.txt`, and its entities in `NAME.ann` beside it.

Format: https://brat.nlplab.org/standoff.html.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from ner_edge.data.corpus import Problem, shortened
from ner_edge.data.documents import CharSpan, Document, left_out_of
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.encoding import decoded, read_utf8
from ner_edge.data.formats.format import Losses
from ner_edge.errors import DataError
from ner_edge.files.inputs import open_input

_ENTITY = re.compile(r"T\S*\t(?P<label>\S+) (?P<places>\d+ \d+(?:;\d+ \d+)*)\t(?P<text>.*)")
_OTHERS = {
    "R": "relations",
    "*": "equivalences",
    "E": "events",
    "A": "attributes",
    "M": "attributes",
    "N": "normalizations",
    "#": "notes",
}
_NAME = re.compile(r"(?:\w[\w.-]{0,99}/){0,9}\w[\w.-]{0,99}", re.ASCII)
"""The `id` of a text that may name its files."""
_CONF = "[entities]\n{labels}\n[relations]\n[events]\n[attributes]\n"


def is_brat(path: Path) -> bool:
    """Whether `path` is a folder, an `.ann` file, or a text with an `.ann` file beside it."""
    return (
        path.is_dir()
        or path.suffix == ".ann"
        or (path.suffix == ".txt" and path.with_suffix(".ann").is_file())
    )


def read_brat(path: Path, options: ReadOptions) -> Contents:
    """Read a text, or all texts in a folder; the `id` of a text is its name without suffix.

    Raises `DataError` for a folder without `.ann` files, or one whose text is missing.
    """
    contents = Contents("brat", layout="brat", texts_only=options.texts_only)
    paths = sorted(path.rglob("*.ann")) if path.is_dir() else [path.with_suffix(".ann")]
    if not paths:
        raise DataError(f"{path}: is a folder, not a file, and holds no .ann files of brat")
    root = path if path.is_dir() else path.parent
    for number, annotations in enumerate(paths, 1):
        name = annotations.relative_to(root).with_suffix("").as_posix()
        document = _read(annotations, name, number, contents)
        contents.records.append(document._replace(fields={"id": name}))
    return contents


def _read(path: Path, name: str, number: int, contents: Contents) -> Document:
    text = _text(path.with_suffix(".txt"))
    document = Document(number, text, [])
    for line_number, raw in enumerate(read_utf8(path).split(b"\n"), 1):
        line, wrong = decoded(raw.rstrip(b"\r"))
        if wrong is None and line.startswith("T"):
            wrong = _add_entity(line, document, name, contents)
        elif kind := _OTHERS.get(line[:1]):
            contents.ignored.add(kind)
        elif line.strip():
            wrong = f"expected an annotation of brat, found {shortened(line)}"
        if wrong:
            contents.illegal.append(Problem(line_number, f"{name}.ann: {wrong}"))
    return document


def _text(path: Path) -> str:
    with open_input(path) as file:
        data = file.read()
    try:
        return data.decode()  # a signature counts as a character
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x}"
        raise DataError(f"{path}: not UTF-8 text ({byte}): save the file as UTF-8") from None


def _add_entity(line: str, document: Document, name: str, contents: Contents) -> str | None:
    """Add the entity of a line. Returns what is wrong with the line, if anything."""
    match = _ENTITY.fullmatch(line)
    if match is None:
        return f"expected T1, a tab, LABEL START END, a tab and the text, found {shortened(line)}"
    places = [tuple(map(int, place.split())) for place in match["places"].split(";")]
    start, end = places[0][0], places[-1][1]
    edges = [edge for place in places for edge in place]
    if sorted(edges) != edges or start == end or end > len(document.text):
        return f"{match['places']} lies outside {name}.txt, of {len(document.text)} characters"
    found = " ".join(document.text[first:last] for first, last in places)
    if match["text"] != found.replace("\n", " ").rstrip("\r"):  # the end of a line
        return (
            f"its text is {shortened(match['text'])}, but {match['places']} is {shortened(found)}; "
            "offsets count code points"
        )
    span = CharSpan(start, end, match["label"])
    gaps = [document.text[first[1] : second[0]] for first, second in pairwise(places)]
    if any(gap.strip() for gap in gaps):
        problem = left_out_of(document, span, "is discontinuous")
        contents.left_out.append(problem._replace(message=f"{name}.ann: {problem.message}"))
    else:  # fragments are how brat writes an entity in two lines
        document.spans.append(span)
    return None


def save_brat(documents: Iterable[Document], folder: Path, losses: Losses) -> None:
    """Write two files for each text, and `annotation.conf`, which lists the labels.

    The files have the `id` of the text as their name, if it can be one, or else a number. Raises
    `DataError` for a label that contains white space.
    """
    labels: dict[str, None] = {}
    names: set[str] = set()
    for number, document in enumerate(documents, 1):
        path = folder / f"{_name(document, number, names)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.text.encode())
        lines = _lines(document, losses)
        path.with_suffix(".ann").write_bytes("".join(lines).encode())
        labels.update(dict.fromkeys(span.label for span in document.spans))
    conf = _CONF.format(labels="".join(f"{label}\n" for label in labels))
    (folder / "annotation.conf").write_bytes(conf.encode())


def _name(document: Document, number: int, names: set[str]) -> str:
    name = str(document.fields.get("id"))
    if "id" not in document.fields or not _NAME.fullmatch(name) or name.casefold() in names:
        name = f"{number:06}"
    names.add(name.casefold())
    return name


def _lines(document: Document, losses: Losses) -> Iterator[str]:
    for number, span in enumerate(document.spans, 1):
        if re.search(r"\s", span.label):
            raise DataError(f"the label {shortened(span.label)} contains a space: brat has none")
        lines = list(_line_spans(document.text, span))
        if not lines:
            losses.leave_out(document, span, "is only line breaks")
            continue
        if (lines[0][0], lines[-1][1]) != (span.start, span.end):
            losses.unkept["line breaks at the ends of entities"] += 1
        places = ";".join(f"{start} {end}" for start, end in lines)
        text = " ".join(document.text[start:end] for start, end in lines)
        yield f"T{number}\t{span.label} {places}\t{text}\n"


def _line_spans(text: str, span: CharSpan) -> Iterator[tuple[int, int]]:
    """Yield the parts of an entity in each line: brat's fragments do not contain line breaks."""
    start = span.start
    for piece in text[span.start : span.end].split("\n"):
        if piece:
            yield start, start + len(piece)
        start += len(piece) + 1
