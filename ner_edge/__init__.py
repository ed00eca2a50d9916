"""Named-entity recognition with small language models: train, quantize, run on a laptop."""

from typing import TYPE_CHECKING, Any

from ner_edge.openmp import limit_spinning

if TYPE_CHECKING:
    from ner_edge.runtime.tagger import Entity as Entity
    from ner_edge.tagger import Tagger as Tagger

__version__ = "0.1.0"
__all__ = ["Entity", "Tagger", "__version__"]

limit_spinning()  # before any module loads llama.cpp or torch


def __getattr__(name: str) -> Any:
    # Loaded on demand, since importing llama.cpp is slow.
    if name == "Tagger":
        from ner_edge.tagger import Tagger

        return Tagger
    if name == "Entity":
        from ner_edge.runtime.tagger import Entity

        return Entity
    raise AttributeError(f"module 'ner_edge' has no attribute '{name}'")
