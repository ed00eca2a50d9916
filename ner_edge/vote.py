"""Labels by the vote of several models."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ner_edge.errors import DataError
from ner_edge.jsonl import Document, read_documents
from ner_edge.labelled import read_lines


def voted(files: Sequence[Path]) -> Iterator[str]:
    """The texts of `files`, which are the same in each, as JSON lines with the entities that more
    than half of the files have.

    No two of them overlap, as one file would have to have both. Raises `DataError`.
    """
    voices = [_read(file) for file in files]
    for file, voice in zip(files[1:], voices[1:], strict=True):
        if [document.text for document in voice] != [document.text for document in voices[0]]:
            raise DataError(f"{file}: holds other texts than {files[0]}")
    for documents in zip(*voices, strict=True):
        votes = Counter(mark for document in documents for mark in {m[:3] for m in document.marks})
        kept = sorted(mark for mark, count in votes.items() if 2 * count > len(files))
        yield json.dumps({"text": documents[0].text, "entities": kept}, ensure_ascii=False)


def _read(file: Path) -> list[Document]:
    documents, problems = read_documents(read_lines(file))
    if problems:
        raise DataError(f"{file}:{problems[0].line}: {problems[0].message}")
    return documents
