"""A tagger without a model: runs of capitalized words are entities."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ner_edge.runtime.tagger import Entity, Part
from ner_edge.spans import ScoredSpan

_NAME = re.compile(r"\b[A-Z][A-Za-z]+(?: [A-Z][A-Za-z]+)*\b")


class StubTagger(nullcontext[Any]):
    """Entities that end in a vowel are PER, others LOC; longer ones score higher."""

    version = "stub"
    decoder = "copy"
    min_score = 0.0
    task = SimpleNamespace(labels={"PER": "person", "LOC": "location"})

    def __init__(self) -> None:
        super().__init__()
        self.enter_result = self
        self.texts: list[str] = []

    def pipe(self, texts: Iterable[str], *, document: bool = False) -> Iterator[list[Entity]]:
        for text in texts:
            self.texts.append(text)
            yield [
                Entity(*match.span(), match.group(), _label(match.group()), score)
                for match in _NAME.finditer(text)
                if (score := min(1.0, len(match.group()) / 10)) >= self.min_score
            ]

    def pipe_parts(self, parts: Iterable[Part], *, document: bool = False) -> Any:
        return self.pipe((part.text for part in parts if part.ends_text), document=document)

    def tag_words(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[ScoredSpan]]:
        for words in sentences:
            self.texts.append(" ".join(words))
            yield [
                ScoredSpan(i, i + 1, _label(word), 1.0)
                for i, word in enumerate(words)
                if _NAME.fullmatch(word)
            ]


def _label(name: str) -> str:
    return "PER" if name[-1].lower() in "aeiou" else "LOC"


@pytest.fixture
def stub_tagger(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tagger that commands load in this process, and an empty cache."""
    folder = tmp_path_factory.mktemp("stub")
    model = folder / "model.gguf"
    model.write_bytes(b"stub")
    tagger = StubTagger()
    monkeypatch.setenv("NER_EDGE_CACHE", str(folder / "cache"))
    monkeypatch.setattr("ner_edge.builtin.resolve_model", lambda name: model)
    monkeypatch.setattr("ner_edge.tagger.Tagger.load", lambda path, **options: tagger)
    return tagger
