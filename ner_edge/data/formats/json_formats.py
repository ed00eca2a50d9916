"""The table of JSON formats. A new format is a new file and a row here."""

from ner_edge.data.formats.label_studio import LABEL_STUDIO
from ner_edge.data.formats.offsets import OFFSETS
from ner_edge.data.formats.record_format import RecordFormat
from ner_edge.data.formats.spacy_pairs import SPACY_PAIRS
from ner_edge.data.formats.tokens import TOKENS

FORMATS: tuple[RecordFormat, ...] = (TOKENS, LABEL_STUDIO, SPACY_PAIRS, OFFSETS)
"""The first that fits a record reads it, so the most general format is the last."""
