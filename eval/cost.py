"""Peak memory and prompt processing speed of a model, measured in a process of its own.

`python -m ner_edge.eval.cost` is that process: JSON in on stdin, JSON out on stdout.
"""

import json
import platform
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ner_edge.errors import NerEdgeError, NerEdgeWarning
from ner_edge.eval.gold import Gold
from ner_edge.eval.measured_once import measured_once
from ner_edge.files.hashing import sha256_of

if TYPE_CHECKING:
    from ner_edge.runtime.llama import LlamaModel

PROMPT = 512  # tokens in one batch, like llama-bench's pp512
_SENTENCES = 16
_REPEATS = 5
_SECONDS = 5.0  # no repeat starts after this much measured time


@dataclass(frozen=True)
class Cost:
    """Measured on this machine; memory on a GPU is not included."""

    peak_bytes: int | None
    """Peak resident memory of a process that loads the model and tags a few sentences; None if the
    system does not report it."""
    prompt_tokens_per_second: float
    """Median of a few prompts of 512 tokens."""


def measured_cost(
    path: Path,
    gold: Gold,
    *,
    decoder: str | None = None,
    depth: int | None = None,
    threads: int | None = None,
    gpu_layers: int | None = None,
    cache_dir: Path | None = None,
) -> Cost | None:
    """Measure a GGUF in a new process, or reuse the figures kept in `cache_dir`.

    None, with a warning, if the process fails.
    """
    from ner_edge.runtime.engine import DECODER_VERSION
    from ner_edge.runtime.llama import LIBRARY

    sentences = [sentence.words for sentence in gold.sentences[:_SENTENCES]]
    loading = {"decoder": decoder, "depth": depth}
    settings = {"loading": loading, "threads": threads, "gpu_layers": gpu_layers}
    return measured_once(
        cache_dir,
        Cost,
        [sha256_of(path), sentences, settings, platform.node(), DECODER_VERSION, LIBRARY],
        lambda: _in_new_process({"path": str(path), "sentences": sentences, **settings}),
    )


def _in_new_process(request: dict[str, Any]) -> Cost | None:
    child = subprocess.run(
        # -P: the working directory may hold another ner_edge, such as a checkout's
        [sys.executable, "-P", "-m", "ner_edge.eval.cost"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if child.returncode != 0:
        reason = child.stderr.strip().rpartition("\n")[2] or f"exit code {child.returncode}"
        warnings.warn(
            f"{request['path']}: its memory and speed could not be measured ({reason})",
            NerEdgeWarning,
            stacklevel=2,
        )
        return None
    return Cost(**json.loads(child.stdout))


def _measure(
    path: str, sentences: list[list[str]], loading: dict[str, Any], **settings: Any
) -> Cost:
    from ner_edge.runtime.tagger import GGUFTagger

    with GGUFTagger.load(Path(path), **loading, **settings) as tagger:
        for _ in tagger.tag_words(sentences):
            pass
    peak = _peak_bytes()  # before the speed test, which allocates a context of its own
    return Cost(peak, prompt_speed(Path(path), **settings))


def prompt_speed(path: Path, threads: int | None = None, gpu_layers: int | None = None) -> float:
    """Measure prompt processing in one batch, in tokens per second."""
    from ner_edge.runtime.llama import LlamaModel

    model = LlamaModel(
        path, context=PROMPT, sequences=1, batch=PROMPT, threads=threads, gpu_layers=gpu_layers
    )
    try:
        _prompt_seconds(model, PROMPT // 16)  # warm-up, which also reads the file
        times: list[float] = []
        while len(times) < _REPEATS and sum(times) < _SECONDS:
            times.append(_prompt_seconds(model, PROMPT))
        return PROMPT / median(times)
    finally:
        model.close()


def _prompt_seconds(model: "LlamaModel", tokens: int) -> float:
    from ner_edge.runtime.batch import Run

    run = Run(0, 0, [i % model.vocabulary_size for i in range(tokens)], [tokens - 1])
    started = perf_counter()
    ((row,),) = (rows.values() for rows in model.decode([run]))
    model.all_logits(row)  # waits for a GPU
    seconds = perf_counter() - started
    model.forget(0, 0)
    return seconds


def _peak_bytes() -> int | None:
    try:
        # On Linux, a process inherits `ru_maxrss` from its parent.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        print(json.dumps(asdict(_measure(**json.load(sys.stdin)))))
    except NerEdgeError as error:
        sys.exit(str(error))
