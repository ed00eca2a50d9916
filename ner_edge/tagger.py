"""The Python interface: a tagger by the path or the name of its model."""

from pathlib import Path
from typing import Self

from ner_edge.builtin import resolve_model
from ner_edge.runtime.tagger import Decoder, GGUFTagger


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
        decoder: Decoder = "copy",
        threads: int | None = None,
        gpu_layers: int | None = None,
    ) -> Self:
        """Load a GGUF made by `ner-edge export`, by path or name (`conll2003-135m:q4_k_m`). None is
        the default model, which is built on first use.

        `threads` None means the physical cores, `gpu_layers` None all layers where llama.cpp was
        built for a GPU. Raises `ModelError` if the file is damaged or holds no task.
        """
        path = model if isinstance(model, Path) else resolve_model(model)
        return super().load(path, decoder=decoder, threads=threads, gpu_layers=gpu_layers)
