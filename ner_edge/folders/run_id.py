"""A name for everything but the text that a result depends on."""

import hashlib
import json
from pathlib import Path

from ner_edge.files.hashing import sha256_of
from ner_edge.runtime.tagger import GGUFTagger

_EXTRACTION = 1  # increment it when documents give other texts


def run_id(tagger: GGUFTagger, model: Path, **options: str | float) -> str:
    """Return a hash of the model file, its decoder, and the options."""
    parts = {
        "model": sha256_of(model),
        "version": tagger.version,
        "decoder": tagger.decoder,
        "extraction": _EXTRACTION,
        **options,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
