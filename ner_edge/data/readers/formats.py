"""The JSON formats: one more is one file, and one row here."""

from ner_edge.data.readers.label_studio import LABEL_STUDIO
from ner_edge.data.readers.offsets import OFFSETS
from ner_edge.data.readers.shape import Shape
from ner_edge.data.readers.spacy_pairs import SPACY_PAIRS
from ner_edge.data.readers.tokens import TOKENS

SHAPES: tuple[Shape, ...] = (TOKENS, LABEL_STUDIO, SPACY_PAIRS, OFFSETS)
"""The first that fits a record reads it; the least particular is the last."""
