"""ner-edge: named-entity recognition with small language models, on your own machine."""

__version__ = "0.1.0"
