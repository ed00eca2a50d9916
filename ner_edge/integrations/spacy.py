"""The component `ner_edge` of spaCy pipelines (https://spacy.io/usage/processing-pipelines).

spaCy imports this module whenever it makes a pipeline, with the component or without, so that
llama.cpp must be imported only where it is used.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span

from ner_edge.errors import ModelError, UsageError
from ner_edge.files.atomic import atomic_path, make_folder
from ner_edge.integrations.lazy_tagger import LazyTagger

if TYPE_CHECKING:
    from ner_edge.runtime.tagger import Entity

AlignmentMode = Literal["strict", "contract", "expand"]
_MODEL_FILE = "model.gguf"


class NerEdgePipe(Pipe):
    """Sets `doc.ents`, and `span._.score` of each entity.

    The model is loaded with the first text.
    """

    scorer = staticmethod(get_ner_prf)

    def __init__(self, name: str, tagger: LazyTagger, alignment_mode: AlignmentMode) -> None:
        self.name = name
        self._tagger = tagger
        self._alignment_mode = alignment_mode

    def __call__(self, doc: Doc) -> Doc:
        """Add the entities of one text to it."""
        add_entities(doc, self._tagger.get()(doc.text), self._alignment_mode)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 0) -> Iterator[Doc]:
        """Add the entities of many texts to them.

        The tagger decides which sentences are decoded together; `batch_size` has no effect.
        """
        docs, ahead = tee(stream)
        with closing(self._tagger.get().pipe(doc.text for doc in ahead)) as found:
            for doc, entities in zip(docs, found, strict=True):
                add_entities(doc, entities, self._alignment_mode)
                yield doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Copy the model file into the folder `path`."""
        folder = Path(path)
        make_folder(folder)
        with atomic_path(folder / _MODEL_FILE) as copy:
            shutil.copyfile(self._tagger.path, copy)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "NerEdgePipe":
        """Use the model file in the folder `path`. Raises `ModelError` if there is none."""
        file = Path(path, _MODEL_FILE)
        if not file.is_file():
            raise ModelError(f"{file}: no such file; save the pipeline again with nlp.to_disk")
        self._tagger = self._tagger.with_model(file)
        return self


@Language.factory(
    "ner_edge",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "span._.score"],
    default_config={"model": None, "min_score": 0.0, "alignment_mode": "expand", "threads": None},
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_ner_edge(
    nlp: Language,
    name: str,
    model: str | None,
    min_score: float,
    alignment_mode: AlignmentMode,
    threads: int | None,
) -> NerEdgePipe:
    """Return a component for `nlp.add_pipe("ner_edge", config={...})`.

    `model` is a path or a name, None the default model; `threads` defaults to the physical cores.
    Entities below `min_score` are left out. Raises `UsageError` if it is not from 0 to 1.
    """
    if not 0 <= min_score <= 1:
        raise UsageError(f"min_score is a probability, from 0 to 1, not {min_score}")
    return NerEdgePipe(name, LazyTagger(model, min_score, threads), alignment_mode)


def add_entities(doc: Doc, entities: Iterable["Entity"], alignment_mode: AlignmentMode) -> None:
    """Add entities with scores to `doc.ents`, as spans of whole tokens.

    Entities that begin or end inside a token are aligned as `Doc.char_span` does, or left out. Of
    those that then overlap, the one with the highest score is added. Those that overlap entities
    which `doc` already has are left out.
    """
    ents = list(doc.ents)
    taken = {token.i for span in ents for token in span}
    for entity in sorted(entities, key=lambda entity: -entity.score):
        span = doc.char_span(
            entity.start, entity.end, label=entity.label, alignment_mode=alignment_mode
        )
        if span is None or not taken.isdisjoint(range(span.start, span.end)):
            continue
        taken.update(range(span.start, span.end))
        span._.score = entity.score
        ents.append(span)
    doc.ents = ents


if not Span.has_extension("score"):
    Span.set_extension("score", default=None)
