"""What a model costs beside its size: memory at its peak, and how fast it reads.

Run as a program it measures one model: settings in, JSON out.
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
from typing import Any

from ner_edge.errors import NerEdgeError, NerEdgeWarning
from ner_edge.eval.gold import Gold
from ner_edge.eval.prediction_cache import measured_once, sha256_of

PROMPT = 512  # tokens read at once, as llama-bench's pp512
_SENTENCES = 16
_REPEATS = 5
_SECONDS = 5.0  # no repeat begins later than this


@dataclass(frozen=True)
class Cost:
    """Measured on this machine, on the CPU's side: memory on a GPU is not counted."""

    peak_bytes: int | None
    """Largest resident memory of a process that loads the model and tags a few sentences; None
    where the system does not tell."""
    prompt_tokens_per_second: float
    """Median over a few readings of 512 tokens."""


def measured_cost(
    path: Path,
    gold: Gold,
    *,
    decoder: str = "copy",
    threads: int | None = None,
    gpu_layers: int | None = None,
    cache_dir: Path | None = None,
) -> Cost | None:
    """Measure a model in a fresh process, or read what an earlier run kept in `cache_dir`.

    None, with a warning, if the process fails.
    """
    from ner_edge.runtime.engine import DECODER_VERSION
    from ner_edge.runtime.llama import LIBRARY

    sentences = [sentence.words for sentence in gold.sentences[:_SENTENCES]]
    settings = {"decoder": decoder, "threads": threads, "gpu_layers": gpu_layers}
    return measured_once(
        cache_dir,
        Cost,
        [sha256_of(path), sentences, settings, platform.node(), DECODER_VERSION, LIBRARY],
        lambda: _in_a_fresh_process({"path": str(path), "sentences": sentences, **settings}),
    )


def _in_a_fresh_process(request: dict[str, Any]) -> Cost | None:
    child = subprocess.run(
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


def _measure(path: str, sentences: list[list[str]], decoder: Any, **settings: Any) -> Cost:
    from ner_edge.runtime.tagger import GGUFTagger

    with GGUFTagger.load(Path(path), decoder=decoder, **settings) as tagger:
        for _ in tagger.tag_words(sentences):
            pass
    # The speed needs a context of its own, which must not count.
    return Cost(_peak_bytes(), prompt_speed(Path(path), **settings))


def prompt_speed(path: Path, threads: int | None = None, gpu_layers: int | None = None) -> float:
    """Tokens per second of prompt processing, in one batch."""
    from ner_edge.runtime.llama import LlamaModel, Run

    model = LlamaModel(
        path, context=PROMPT, sequences=1, batch=PROMPT, threads=threads, gpu_layers=gpu_layers
    )
    try:

        def seconds(tokens: int) -> float:
            run = Run(0, 0, [i % model.vocabulary_size for i in range(tokens)], [tokens - 1])
            started = perf_counter()
            ((row,),) = (rows.values() for rows in model.decode([run]))
            model.all_logits(row)  # waits for a GPU
            passed = perf_counter() - started
            model.forget(0, 0)
            return passed

        seconds(PROMPT // 16)  # the first run reads the file
        times: list[float] = []
        while len(times) < _REPEATS and sum(times) < _SECONDS:
            times.append(seconds(PROMPT))
        return PROMPT / median(times)
    finally:
        model.close()


def _peak_bytes() -> int | None:
    try:
        # Not `ru_maxrss`, which on Linux a process inherits from the one that started it.
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
