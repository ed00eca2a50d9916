"""A recognizer for Presidio's `AnalyzerEngine`.

Its interface: https://presidio.dataprivacystack.org/analyzer/adding_recognizers
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ner_edge.errors import UsageError, missing_extra
from ner_edge.runtime.tagger import Entity
from ner_edge.tagger import Tagger

try:
    from presidio_analyzer import AnalysisExplanation, LocalRecognizer, RecognizerResult
    from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts
except ImportError as error:
    raise missing_extra("presidio", error) from None


class NerEdgeRecognizer(LocalRecognizer):
    """Reports the entities of one model to Presidio."""

    name: str

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        label_mapping: Mapping[str, str] | None = None,
        supported_entities: Collection[str] | None = None,
        name: str = "NerEdgeRecognizer",
        **options: Any,
    ) -> None:
        """Load a model by path or name; None is the default model.

        `label_mapping` gives the Presidio entity of each label, by default Presidio's own table
        (`PER` is `PERSON`). Labels that it lacks keep their names. `supported_entities` limits
        what is reported; `options` are those of Presidio's `EntityRecognizer`. Raises `UsageError`
        if the model has none of an entity, and `ModelError` as `Tagger.load` does.
        """
        if label_mapping is None:
            label_mapping = NerModelConfiguration().model_to_presidio_entity_mapping or {}
        self.tagger = Tagger.load(model)
        self._entity_of = {
            label: label_mapping.get(label, label) for label in self.tagger.task.labels
        }
        entities = sorted(set(self._entity_of.values()))
        for entity in supported_entities or ():
            if entity not in entities:
                raise UsageError(f"this model has no {entity}, only {', '.join(entities)}")
        super().__init__(list(supported_entities or entities), name=name, **options)

    def load(self) -> None:
        """Do nothing, because the model is loaded already: its labels are needed earlier."""

    def analyze(
        self, text: str, entities: Collection[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Return the supported entities of a text, of all kinds if `entities` names none."""
        wanted = set(self.supported_entities)
        if entities:
            wanted &= set(entities)
        found = self.tagger(text) if wanted else []
        return [self._result(entity) for entity in found if self._entity_of[entity.label] in wanted]

    def _result(self, entity: Entity) -> RecognizerResult:
        explanation = AnalysisExplanation(
            recognizer=self.name,
            original_score=entity.score,
            textual_explanation=f"Identified as {entity.label} by ner-edge",
        )
        return RecognizerResult(
            self._entity_of[entity.label], entity.start, entity.end, entity.score, explanation
        )
