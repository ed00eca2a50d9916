"""Presidio finds personal data with ner-edge and its own patterns, and replaces it."""

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NoOpNlpEngine
from presidio_anonymizer import AnonymizerEngine

from ner_edge.integrations.presidio import NerEdgeRecognizer

TEXT = "Ada Lovelace lives in London. Her phone number is 212-555-5555."

no_spacy_model = NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}])
analyzer = AnalyzerEngine(nlp_engine=no_spacy_model)
analyzer.registry.add_recognizer(NerEdgeRecognizer())

results = analyzer.analyze(TEXT, language="en")
for result in sorted(results, key=lambda result: result.start):
    print(result.entity_type, TEXT[result.start : result.end], sep=": ")
print(AnonymizerEngine().anonymize(TEXT, results).text)
