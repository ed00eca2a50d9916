"""The order of rows in the query and key matrices of a GGUF file.

Hugging Face rotates the halves of a head, and so does llama.cpp, except in architectures with
`permuted` matrices: there it rotates neighbouring pairs, so conversion interleaves the rows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def permuted_rows(
    read_slice: Callable[[int, int], NDArray[np.float32]], head_width: int
) -> Callable[[int, int], NDArray[np.float32]]:
    """Turn a reader of rows in Hugging Face's order into one of rows in GGUF's."""

    def read(start: int, end: int) -> NDArray[np.float32]:
        first, last = start // head_width * head_width, -(-end // head_width) * head_width
        rows = permute_rows(read_slice(first, last), (last - first) // head_width)
        return rows[start - first : end - first]

    return read


def permute_rows(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Convert rows of q or k (or of a LoRA B for them) from Hugging Face's order to GGUF's: within
    each head, the two halves are interleaved (llama.cpp, `LlamaModel.permute`)."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def restore_rows(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Invert `permute_rows`."""
    split = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)
