"""Measure training on a model of a given shape with random weights: packed against a plain loop.

The sentences, and so their lengths in tokens, are those of the trial's first run, with the prompt
of its task. The settings are those of the preset `paper`. The last line is JSON.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from train_steps import (
    TOLERANCE,
    add_naive_adapter,
    add_packed_adapter,
    naive_step,
    packed_step,
)
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trial_runs import WORK, data_files

from ner_edge.hf.prompts import Example, PromptEncoder
from ner_edge.task import Task
from ner_edge.train.attention import NAME as SHARED_PREFIX_ATTENTION
from ner_edge.train.batches import Schedule, Share
from ner_edge.train.data import read_data
from ner_edge.train.settings import TrainSettings, resolve_settings
from ner_edge.train.start import with_dtype

QWEN2_7B = {
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
TINY = {
    "vocab_size": 50_000,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SHAPES = {"7b": QWEN2_7B, "tiny": TINY}
"""Of Qwen2 models."""
WARM_UP = 2  # steps


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--steps", type=int, required=True, help="timed steps")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = with_dtype(resolve_settings("paper"))
    encoder, batches = draw_batches(settings, WARM_UP + options.steps)
    measured = {
        way: measure(way, SHAPES[options.shape], settings, encoder.prefix, batches, device)
        for way in ("naive", "packed")
    }
    losses = zip(measured["naive"]["losses"], measured["packed"]["losses"], strict=True)
    for number, (naive, packed) in enumerate(losses):
        if abs(naive - packed) > TOLERANCE * naive:
            sys.exit(f"error: the losses of step {number} differ: {naive} and {packed}")
    lengths = [len(example) for batch in batches[WARM_UP:] for example in batch]
    report = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "shape": options.shape,
        "dtype": settings.dtype,
        "rank": settings.rank,
        "batch_size": settings.batch_size,
        "prefix_tokens": len(encoder.prefix),
        "tokens_per_sentence": len(encoder.prefix) + sum(lengths) / len(lengths),
        "packed_over_naive": measured["packed"]["sentences_per_second"]
        / measured["naive"]["sentences_per_second"],
        **measured,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "speed.json").write_text(json.dumps(report, indent=2) + "\n")
    for way, figures in measured.items():
        memory = figures["peak_memory_bytes"]
        peak = "memory not measured" if memory is None else f"{memory / 1e9:.1f} GB"
        print(f"{way:<8}{figures['sentences_per_second']:8.2f} sentences/s, {peak}")
    print(json.dumps(report))
    return 0


def draw_batches(settings: TrainSettings, count: int) -> tuple[PromptEncoder, list[list[Example]]]:
    """Return so many batches of the first run's sentences, repeated if they are too few."""
    trial = json.loads((WORK / "trial.json").read_text())
    base, task = WORK / trial["base"], Task(**trial["task"])
    where, gguf = (base, {}) if base.is_dir() else (base.parent, {"gguf_file": base.name})
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(where, **gguf), task)
    data = read_data(data_files(trial["runs"][0]["data"]), task)
    examples = [encoder.example(sentence) for dataset in data for sentence in dataset.sentences]
    needed = max(len(examples), count * settings.batch_size)
    examples = list(islice(cycle(examples), needed))
    lengths = [len(example) for example in examples]
    plan = Schedule(lengths, [Share(needed)], settings.batch_size, 1, settings.seed).epoch(0)
    return encoder, [[examples[i] for i in batch] for batch in plan[:count]]


def measure(
    way: str,
    shape: dict[str, Any],
    settings: TrainSettings,
    prefix: list[int],
    batches: Sequence[Sequence[Example]],
    device: torch.device,
) -> dict[str, Any]:
    """Train a few steps in one way; return its speed, its losses, and on a GPU its peak memory."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen2", **shape, max_position_embeddings=4096)
    with device:
        model: Any = AutoModelForCausalLM.from_config(
            config,
            dtype=getattr(torch, settings.dtype),
            attn_implementation=SHARED_PREFIX_ATTENTION,
        )
    if way == "packed":
        model = add_packed_adapter(model, settings)
        step = packed_step(model, prefix, settings.max_tokens)
    else:
        model = add_naive_adapter(model, settings)
        step = naive_step(model, prefix, settings.batch_size)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate)
    losses, seconds = [], []
    for batch in batches:
        started = time.perf_counter()
        losses.append(step(batch))
        torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = None
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    del model, optimizer, weights, step
    gc.collect()
    if device.type == "cuda":  # or the next way would be measured with this one's memory
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    per_second = [len(b) / s for b, s in zip(batches, seconds, strict=True)][WARM_UP:]
    return {
        "sentences_per_second": median(per_second),
        "peak_memory_bytes": peak,
        "losses": losses,
    }


if __name__ == "__main__":
    sys.exit(main())
