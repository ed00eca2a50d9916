"""`NerEdgeRecognizer` in the real Presidio."""

import json
import subprocess
import sys

import pytest
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NoOpNlpEngine
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider
from presidio_anonymizer import AnonymizerEngine

from ner_edge.errors import ModelError, UsageError
from ner_edge.integrations.presidio import NerEdgeRecognizer
from ner_edge.tagger import Tagger

TEXT = "Bob, Ann; and Max met Li in Oslo! Call 212-555-5555."
PRESIDIO_NAMES = {"PER": "PERSON", "LOC": "LOCATION"}


def engine(*recognizers: NerEdgeRecognizer) -> AnalyzerEngine:
    """An analyzer with Presidio's pattern recognizers, and no spaCy model."""
    analyzer = AnalyzerEngine(nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": ""}]))
    for recognizer in recognizers:
        analyzer.registry.add_recognizer(recognizer)
    return analyzer


@pytest.fixture(scope="module")
def recognizer(tiny):
    made = NerEdgeRecognizer(tiny.gguf)
    yield made
    made.tagger.close()


@pytest.fixture(scope="module")
def entities(tiny):
    with Tagger.load(tiny.gguf) as tagger:
        found = tagger(TEXT)
    assert {entity.label for entity in found} == {"PER", "LOC"}
    return found


def test_results_are_the_taggers_beside_those_of_patterns(recognizer, entities):
    results = engine(recognizer).analyze(TEXT, language="en", return_decision_process=True)
    ours = [r for r in results if r.recognition_metadata["recognizer_name"] == recognizer.name]
    assert sorted((r.start, r.end, r.entity_type, r.score) for r in ours) == [
        (e.start, e.end, PRESIDIO_NAMES[e.label], e.score) for e in entities
    ]
    assert {r.entity_type for r in results} == {"PERSON", "LOCATION", "PHONE_NUMBER"}
    explanation = ours[0].analysis_explanation
    assert explanation.original_score == ours[0].score
    label = {"PERSON": "PER", "LOCATION": "LOC"}[ours[0].entity_type]
    assert explanation.textual_explanation == f"Identified as {label} by ner-edge"


def test_the_anonymizer_replaces_them(recognizer, entities):
    results = engine(recognizer).analyze(TEXT, language="en")
    # Presidio declares another type than that of its own analyzer's results.
    anonymized = AnonymizerEngine().anonymize(TEXT, results).text  # type: ignore[arg-type]
    for entity in entities:
        assert f"<{PRESIDIO_NAMES[entity.label]}>" in anonymized
    assert "212-555-5555" not in anonymized


def test_only_the_entities_that_are_asked_for_are_reported(recognizer, entities):
    analyzer = engine(recognizer)
    results = analyzer.analyze(TEXT, language="en", entities=["LOCATION"])
    assert sorted((r.start, r.end) for r in results) == [
        (e.start, e.end) for e in entities if e.label == "LOC"
    ]
    batches = recognizer.tagger.statistics.batches
    assert analyzer.analyze(TEXT, language="en", entities=["PHONE_NUMBER"])
    assert recognizer.tagger.statistics.batches == batches  # the model was not asked


def test_scores_below_presidios_threshold_are_left_out(recognizer, entities):
    least = sorted(entity.score for entity in entities)[1]
    results = engine(recognizer).analyze(
        TEXT, language="en", entities=["PERSON", "LOCATION"], score_threshold=least
    )
    assert min(r.score for r in results) == least


def test_labels_are_mapped_as_the_user_says(tiny, entities):
    mapped = NerEdgeRecognizer(tiny.gguf, label_mapping={"PER": "PATIENT"})
    assert mapped.supported_entities == ["LOC", "PATIENT"]  # one without a mapping keeps its name
    names = {result.entity_type for result in mapped.analyze(TEXT, ["PATIENT", "LOC"])}
    assert names == {"PATIENT", "LOC"}


def test_supported_entities_limit_the_results(tiny, entities):
    limited = NerEdgeRecognizer(tiny.gguf, supported_entities=["PERSON"])
    results = limited.analyze(TEXT, ["PERSON", "LOCATION"])
    assert [r.start for r in results] == [e.start for e in entities if e.label == "PER"]
    assert len(limited.analyze(TEXT, [])) == len(results)  # no list of entities means all
    with pytest.raises(UsageError, match="this model has no NRP, only LOCATION, PERSON"):
        NerEdgeRecognizer(tiny.gguf, supported_entities=["NRP"])


def test_a_missing_model_is_named():
    with pytest.raises(ModelError, match=r"^missing\.gguf: no such file"):
        NerEdgeRecognizer("missing.gguf")


def test_a_registry_file_may_name_the_recognizer(tiny, tmp_path):
    item = {"name": "NerEdgeRecognizer", "type": "predefined", "model": str(tiny.gguf)}
    registry = {"supported_languages": ["en"], "global_regex_flags": 26, "recognizers": [item]}
    (tmp_path / "recognizers.yaml").write_text(json.dumps(registry))  # which is YAML, too
    provider = RecognizerRegistryProvider(conf_file=tmp_path / "recognizers.yaml")
    (made,) = provider.create_recognizer_registry().recognizers
    assert isinstance(made, NerEdgeRecognizer)
    assert made.analyze(TEXT, ["PERSON"])


def test_without_presidio_the_extra_is_named():
    program = (
        "import sys; sys.modules['presidio_analyzer'] = None\nimport ner_edge.integrations.presidio"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "install it with: pip install 'ner-edge[presidio]'" in printed.stderr
