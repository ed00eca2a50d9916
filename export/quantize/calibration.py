"""What to calibrate on: training sentences, or what was collected from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.data.labelled import read_labelled
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.imatrix import Imatrix, read_imatrix
from ner_edge.spans import Span

_SENTENCES = 400  # more hardly change the matrix


@dataclass(frozen=True)
class CalibrationSet:
    """Right answers to learn from what a model's weights see, and the file they come from: its name
    and SHA-256."""

    answers: list[tuple[Sequence[str], Sequence[Span]]]
    name: str
    sha256: str = ""


def read_calibration(path: Path) -> Imatrix | CalibrationSet:
    """An importance matrix, if `path` is a GGUF, else labelled sentences: some hundred of them,
    evenly from the whole file, which must be training data, never what is evaluated on."""
    if path.suffix == ".gguf":
        return read_imatrix(path)
    sentences = [sentence for sentence in read_labelled(path) if sentence.words]
    step = max(1, len(sentences) // _SENTENCES)
    return CalibrationSet(
        [(s.words, s.spans) for s in sentences[::step]], path.name, sha256_of(path)
    )
