"""The Python interface: a tagger by the path or the name of its model."""

from pathlib import Path
from typing import Self

from ner_edge.builtin import resolve_model
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.runtime.word_tagger import Decoder


class Tagger(GGUFTagger):
    """Finds the entities in texts.

    >>> with Tagger.load() as tagger:
    ...     tagger("Ada Lovelace lived in London.")
    """

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        decoder: Decoder | None = None,
        depth: int | None = None,
        threads: int | None = None,
        gpu_layers: int | None = None,
    ) -> Self:
        """Load a model by the path of its GGUF or by name, such as `conll2003-135m:q4_k_m`.

        The default model is built on first use. `decoder` defaults to `auto`, or to `copy` if the
        model has no word head; `depth` is the number of layers that the decoder `read` evaluates,
        by default all. `threads` defaults to the physical cores, and `gpu_layers` to all layers if
        llama.cpp was built for a GPU. Raises `ModelError` if there is no such model, or if its file
        is damaged or has no task, `UsageError` if it does not support the decoder or the depth.
        """
        path = model if isinstance(model, Path) else resolve_model(model)
        return super().load(
            path, decoder=decoder, depth=depth, threads=threads, gpu_layers=gpu_layers
        )
