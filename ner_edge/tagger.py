"""The Python interface: a tagger by the path or the name of its model."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from enum import Enum, auto
from itertools import tee
from pathlib import Path
from typing import Any, Self

from ner_edge.builtin import resolve_model
from ner_edge.data.documents import CharSpan, Document
from ner_edge.errors import UsageError
from ner_edge.runtime.tagger import Entity, GGUFTagger, Part, parts_of
from ner_edge.runtime.word_tagger import Decoder


class Tagger(GGUFTagger):
    """Finds the entities in texts.

    >>> with Tagger.load() as tagger:
    ...     tagger("Ada Lovelace lived in London.")
    """

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        decoder: Decoder | None = None,
        depth: int | None = None,
        threads: int | None = None,
        gpu_layers: int | None = None,
    ) -> Self:
        """Load a model by the path of its GGUF or by name, such as `conll2003-135m:q4_k_m`.

        The default model is built on first use. `decoder` defaults to `auto`, or to `copy` if the
        model has no word head; `depth` is the number of layers that the decoder `read` evaluates,
        by default all. `threads` defaults to the physical cores, and `gpu_layers` to all layers if
        llama.cpp was built for a GPU. Raises `ModelError` if there is no such model, or if its file
        is damaged or has no task, `UsageError` if it does not support the decoder or the depth.
        """
        path = model if isinstance(model, Path) else resolve_model(model)
        return super().load(
            path, decoder=decoder, depth=depth, threads=threads, gpu_layers=gpu_layers
        )

    def predict_entities(
        self, text: str, labels: Sequence[str] | None = None, *, threshold: float = 0.5
    ) -> list[dict[str, Any]]:
        """Return the entities of a text as GLiNER does: dicts with `start`, `end`, `text`, `label`
        and `score`.

        `labels` are some of the model's, by default all. Entities that score below `threshold` are
        left out. Raises `UsageError` for a label that the model does not have.

        Source: https://github.com/urchade/GLiNER, `GLiNER.predict_entities`.
        """
        return self.batch_predict_entities([text], labels, threshold=threshold)[0]

    def batch_predict_entities(
        self, texts: Iterable[str], labels: Sequence[str] | None = None, *, threshold: float = 0.5
    ) -> list[list[dict[str, Any]]]:
        """Return the entities of each text, as `predict_entities` does."""
        wanted = self._known(labels)
        return [
            [
                asdict(entity)
                for entity in entities
                if entity.label in wanted and entity.score >= threshold
            ]
            for entities in self.pipe(texts)
        ]

    def _known(self, labels: Sequence[str] | None) -> set[str]:
        if isinstance(labels, str | float):
            raise TypeError("labels are a list; name the threshold: threshold=0.5")
        wanted = set(self.task.labels if labels is None else labels)
        if unknown := sorted(wanted - set(self.task.labels)):
            raise UsageError(
                f"this model has no label {', '.join(unknown)}, only {', '.join(self.task.labels)}"
            )
        return wanted


class Extent(Enum):
    """How much of a file is one document, in which the same word tends to have the same label."""

    TEXT = auto()
    """Each text."""
    FILE = auto()
    """All texts, such as the lines of a letter."""
    DOCSTART = auto()
    """The texts up to the next `-DOCSTART-` line."""


def tag_documents(
    tagger: GGUFTagger, documents: Iterable[Document], extent: Extent = Extent.TEXT
) -> Iterator[Document]:
    """Yield each text with the entities that the tagger finds in it, in order.

    A text with words of its own keeps them.
    """
    ahead, behind = tee(documents)
    parts = (part for document in ahead for part in _parts(document, extent))
    found = tagger.pipe_parts(parts, document=extent is Extent.FILE)
    for document, entities in zip(behind, found, strict=True):
        yield with_entities(document, entities)


def _parts(document: Document, extent: Extent) -> Iterator[Part]:
    text, sentences = document.text, document.sentences
    if document.is_docstart:
        yield Part(text, [], ends_text=True)
    elif sentences and extent is Extent.DOCSTART:
        (words,) = sentences  # a block of CoNLL columns
        yield Part(text, words, ends_text=True)
    else:
        yield from parts_of(text, sentences)


def with_entities(document: Document, entities: Iterable[Entity]) -> Document:
    """Return a document with the entities that were found in its text; scores have six decimals."""
    spans = [CharSpan(e.start, e.end, e.label, round(e.score, 6)) for e in entities]
    return document._replace(spans=spans, rejected="", predicted=True)
