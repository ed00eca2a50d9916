"""A model and its memory: a thin, safe layer over llama.cpp's C interface.

A failed assertion in native code ends the process, so this module checks its arguments first.
"""

import ctypes
import os
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from threading import RLock
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import ModelError, NerEdgeError, UsageError
from ner_edge.runtime.amx import avoid_broken_amx, readable_by_amx
from ner_edge.runtime.batch import Batch, Run
from ner_edge.runtime.fork import check_gpu, check_not_forked, check_threads
from ner_edge.runtime.hardware import describe_hardware, physical_cores, usable_gpu_layers
from ner_edge.runtime.head import OutputHead, StateReader
from ner_edge.runtime.interrupts import interrupts_wait
from ner_edge.runtime.nodes import NodeReader, nodes_can_be_read
from ner_edge.runtime.trial import ensure_loadable

LIBRARY = f"llama-cpp-python {llama_cpp.__version__}"
PREFIX = 0  # the sequence that all others begin with


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _discard_log(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    pass


def start_backend() -> None:
    """Start llama.cpp, silent unless `NER_EDGE_LLAMA_LOG` is set."""
    if os.environ.get("NER_EDGE_LLAMA_LOG") is None:
        llama_cpp.llama_log_set(_discard_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    avoid_broken_amx()


class LlamaModel:
    """A GGUF file loaded into llama.cpp, with one context. Call `close` to free it.

    `context` is the number of tokens that all sequences together may hold, `batch` the most tokens
    of one `decode`. `gpu_layers` None means all if llama.cpp was built for a GPU. On a CPU, `head`
    replaces llama.cpp's own last layer, and `all_logits` works only after a `whole` decode. `read`
    returns states only if `states`. Without these two, `nodes` receives the values of the graph.
    Unless `tried`, a file that is not known to load is first loaded in a child process.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int,
        sequences: int,
        batch: int = 512,
        threads: int | None = None,
        gpu_layers: int | None = None,
        head: OutputHead | None = None,
        states: bool = False,
        nodes: NodeReader | None = None,
        tried: bool = False,
    ) -> None:
        self._process = os.getpid()
        self._vocab_in_use = RLock()
        """Held while any thread tokenizes: the model must not be freed meanwhile."""
        self._model: Any = None
        self._context: Any = None
        self._output_of: dict[int, int] = {}
        if not tried:
            ensure_loadable(path)
        start_backend()
        gpu_layers = usable_gpu_layers(gpu_layers)
        check_gpu(gpu_layers)
        threads = threads or physical_cores()
        check_threads(threads)
        self.hardware = describe_hardware(threads, gpu_layers)
        """What the model runs on, such as `2 threads`."""
        on_gpu = gpu_layers > 0  # where the last layer is quick
        self._head = head if not on_gpu and nodes_can_be_read() else None
        self.gives_states = states
        """Whether `read` returns states."""
        self._load(path, gpu_layers)
        self.context_size = context
        self.sequences = sequences
        self.batch_size = batch
        needs_states = self._head or states
        self._reader = StateReader() if needs_states and nodes_can_be_read() else None
        self._nodes = self._reader.nodes if self._reader else nodes
        self._open_context(path, context, sequences, batch, threads)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = Batch(batch)
        self.batches = self.tokens = 0
        """How many batches, of how many tokens together, were evaluated."""

    def _load(self, path: Path, gpu_layers: int) -> None:
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        if not gpu_layers:  # else llama.cpp multiplies large batches on the GPU all the same
            no_devices = ctypes.c_void_p(None)  # a list of devices that ends at once
            parameters.devices = ctypes.addressof(no_devices)
        with nullcontext(path) if gpu_layers else readable_by_amx(path) as file:
            parameters.use_mmap = file == path
            self._model = llama_cpp.llama_model_load_from_file(os.fsencode(file), parameters)
        if not self._model:
            raise ModelError(f"{path}: llama.cpp cannot load it; is the file complete?")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary_size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.trained_context: int = llama_cpp.llama_model_n_ctx_train(self._model)

    def _open_context(
        self, path: Path, context: int, sequences: int, batch: int, threads: int
    ) -> None:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_batch = parameters.n_ubatch = batch
        parameters.n_seq_max = sequences
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.kv_unified = True
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        parameters.no_perf = True
        if self._nodes:
            parameters.cb_eval = self._nodes.callback
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        if not self._context:
            self.close()
            raise ModelError(f"{path}: llama.cpp cannot run it; is there enough memory?")

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[int]:
        """Return the token ids of `text`.

        Special tokens are parsed only if `special`. `start` prepends the begin-of-sequence token,
        if the model expects one.
        """
        self.check_usable()  # first: in a forked process the lock may never be free
        data = text.encode("utf-8")
        room = len(data) + 2
        tokens = (llama_cpp.llama_token * room)()
        with self._vocab_in_use:
            self.check_usable()
            count = llama_cpp.llama_tokenize(
                self._vocab, data, len(data), tokens, room, False, special
            )
            if count < 0:
                raise NerEdgeError("llama.cpp cannot tokenize this text")
            begin = []
            if start and llama_cpp.llama_vocab_get_add_bos(self._vocab):
                begin = [llama_cpp.llama_vocab_bos(self._vocab)]
        return begin + tokens[:count]

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` writes."""
        buffer = ctypes.create_string_buffer(256)
        self.check_usable()
        with self._vocab_in_use:
            self.check_usable()
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 256, 0, False)
        return buffer.raw[: max(length, 0)]

    def check_head(self, row: int) -> None:
        """Drop the head unless it reproduces the logits that llama.cpp computed for `row`.

        The last `decode` must have been `whole`. The head is also dropped if llama.cpp does not
        expose the states of this architecture.
        """
        if self._reader and self._reader.states is None:
            self._head = None
        if self._head and not self._head.agrees(self._state(row), self.all_logits(row)):
            self._head = None

    def drop_head(self) -> None:
        """Compute the logits of the whole vocabulary from now on."""
        self._head = None

    def decode(self, runs: Sequence[Run], *, whole: bool = False) -> list[dict[int, int]]:
        """Evaluate all `runs` in one batch.

        Returns for each run its wanted indices with the rows of their logits. Until the next
        `decode`, `logits` reads these rows, and so does `all_logits` if `whole` or without a head.
        """
        self._check_size(runs)
        rows = self._batch.fill(runs)
        self._output_of = {row: i for i, row in enumerate(r for rs in rows for r in rs.values())}
        if self._reader:
            self._reader.expect(go_on=whole or not self._head)
        self._evaluate(causal=True)
        return rows

    def read(self, runs: Sequence[Run], *, depth: int | None = None) -> list[NDArray[np.float32]]:
        """Evaluate all `runs` in one batch in which each attends to itself in both directions.

        Returns for each run the hidden states of its wanted tokens, [wanted, width], after the
        final norm or, with a `depth`, after so many layers: the others are then not evaluated, and
        the sequences must be forgotten.
        """
        self._check_size(runs)
        rows = [list(row_of.values()) for row_of in self._batch.fill(runs)]
        self._output_of = {row: i for i, row in enumerate(chain(*rows))}
        if self._reader:
            self._reader.expect(depth=depth, go_on=False)
        self._evaluate(causal=False)
        return [self._states_of(group, depth) for group in rows] if self.gives_states else []

    def _evaluate(self, *, causal: bool) -> None:
        # Both stay as they are until the next kind of batch, since switching costs a new graph.
        llama_cpp.llama_set_causal_attn(self._context, causal)
        if self.gives_states and not self._reader:
            llama_cpp.llama_set_embeddings(self._context, not causal)
        self.batches += 1
        self.tokens += self._batch.struct.n_tokens
        with interrupts_wait():
            status = llama_cpp.llama_decode(self._context, self._batch.struct)
        if self._nodes:
            self._nodes.raise_error()
        if status != 0:
            raise NerEdgeError(f"llama.cpp failed to evaluate a batch (status {status})")

    def _check_size(self, runs: Sequence[Run]) -> None:
        if sum(len(run.tokens) for run in runs) > self.batch_size:
            raise NerEdgeError("internal: more tokens than a batch holds")
        self.check_usable()

    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        """Return the logits of `tokens` in a row that `decode` returned."""
        if self._head:
            return self._head.logits(self._state(row), tokens)
        values = llama_cpp.llama_get_logits_ith(self._context, row)
        return [values[token] for token in tokens]

    def all_logits(self, row: int) -> NDArray[np.float32]:
        """Return a copy of a whole row, [vocabulary]."""
        values = llama_cpp.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(values, shape=(self.vocabulary_size,)).copy()

    def _state(self, row: int) -> NDArray[np.float32]:
        states = self._reader.states if self._reader else None
        if states is None or len(states) != len(self._output_of):
            raise NerEdgeError("internal: llama.cpp did not expose its states")
        state: NDArray[np.float32] = states[self._output_of[row]]
        return state

    def _states_of(self, rows: Sequence[int], depth: int | None) -> NDArray[np.float32]:
        if not self._reader:
            pointers = (llama_cpp.llama_get_embeddings_ith(self._context, row) for row in rows)
            width = (llama_cpp.llama_model_n_embd(self._model),)
            return np.array([np.ctypeslib.as_array(p, shape=width) for p in pointers])
        if depth is None:
            return np.array([self._state(row) for row in rows])
        states = self._reader.states
        if states is None:
            raise NerEdgeError("internal: llama.cpp did not expose its states")
        chosen: NDArray[np.float32] = states[list(rows)]
        return chosen

    def share(self, source: int, target: int) -> None:
        """Make sequence `target` begin with the tokens of `source`; takes no memory."""
        self.check_usable()
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequence: int, position: int) -> None:
        """Drop the tokens of `sequence` from `position` on."""
        if self._context:
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1)

    def save_sequence(self, sequence: int, path: Path, tokens: Sequence[int]) -> None:
        """Write the state of a sequence that holds `tokens` to a file."""
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        written = llama_cpp.llama_state_seq_save_file(
            self._context, os.fsencode(path), sequence, array, len(tokens)
        )
        if not written:
            raise NerEdgeError(f"{path}: cannot be written")

    def load_sequence(self, sequence: int, path: Path, tokens: Sequence[int]) -> bool:
        """Load the state that `save_sequence` wrote for `tokens`.

        Returns False, and leaves the sequence empty, if the file was written for other tokens. The
        caller must know that the file is undamaged.
        """
        array = (llama_cpp.llama_token * len(tokens))()
        count = ctypes.c_size_t(0)
        read = llama_cpp.llama_state_seq_load_file(
            self._context, os.fsencode(path), sequence, array, len(tokens), ctypes.byref(count)
        )
        if not read or list(array[: count.value]) != list(tokens):
            self.forget(sequence, 0)
            return False
        return True

    @property
    def vocab(self) -> Any:
        """llama.cpp's handle of the vocabulary, which its samplers take."""
        return self._vocab

    def check_usable(self) -> None:
        """Raise `UsageError` if the model is closed, or was loaded before this process forked."""
        if not self._context:
            raise UsageError("the model is closed")
        check_not_forked(self._process)

    @property
    def is_ours(self) -> bool:
        """Whether this process loaded the model, rather than being forked from one that did."""
        return self._process == os.getpid()

    def close(self) -> None:
        """Free the native memory; afterwards the object is unusable."""
        # In a forked process there are no threads to end, so only the system can free the memory.
        if not self.is_ours:
            self._context = self._model = None
            return
        with self._vocab_in_use:
            if self._context:
                llama_cpp.llama_free(self._context)
            if self._model:
                llama_cpp.llama_model_free(self._model)
            self._context = self._model = None
