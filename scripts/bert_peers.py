"""Time BERT-base and DistilBERT as token classifiers; the child process of `peers.py`.

It speaks lines of JSON. The first line it reads has the number of threads and the tokens of every
sentence; it replies with the fastest setting of each model. Then each line names a model and one
of so many turns; it replies with the sentences and the seconds of that turn. All turns together
tag every sentence once.

Weights are random, since speed does not depend on them. Sentences are sorted by length, and a
batch is padded to its longest. Tokenization is not timed.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from transformers import (
    BertConfig,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
)

BATCHES = (8, 16, 32)
TRIED_ON = 96
"""How many sentences each setting is tried on."""
LABELS = 9  # IOB2 tags of CoNLL-2003
LONGEST = 512

Array = NDArray[Any]
Classifier = Callable[[Array, Array], Array]
"""From token ids and attention mask to logits."""


class Peer(NamedTuple):
    """A model with its fastest setting."""

    classify: Classifier
    batch: int
    weights: str


def bert() -> torch.nn.Module:
    config = BertConfig(num_labels=LABELS, attn_implementation="eager")
    return BertForTokenClassification(config).eval()


def distilbert() -> torch.nn.Module:
    config = DistilBertConfig(num_labels=LABELS, attn_implementation="eager")
    return DistilBertForTokenClassification(config).eval()


def in_torch(model: torch.nn.Module) -> Classifier:
    def classify(ids: Array, mask: Array) -> Array:
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        logits: Array = output.logits.numpy()
        return logits

    return classify


def in_onnx_runtime(path: Path, threads: int) -> Classifier:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Otherwise its threads would still spin in the next one's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def classify(ids: Array, mask: Array) -> Array:
        logits: Array = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    return classify


def export_int8(model: torch.nn.Module, folder: Path) -> dict[str, Path]:
    """Export, fuse and quantize a model, with one scale per tensor and with one per channel.

    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html (dynamic, uint8
    activations, int8 weights) and Optimum's `AutoQuantizationConfig.avx512_vnni`.
    """
    example = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "sentences", 1: "tokens"}
    names = ("input_ids", "attention_mask", "logits")
    torch.onnx.export(
        model,
        (example,),
        str(folder / "float32.onnx"),
        kwargs={"attention_mask": example},
        input_names=names[:2],
        output_names=names[2:],
        dynamic_axes=dict.fromkeys(names, axes),
        dynamo=False,
    )
    fused = optimize_model(
        str(folder / "float32.onnx"), model_type="bert", num_heads=12, hidden_size=768
    )
    fused.save_model_to_file(str(folder / "fused.onnx"))
    attention = fused.get_fused_operator_statistics()["Attention"]
    if attention != model.config.num_hidden_layers:
        sys.exit(f"error: {attention} attention layers were fused; the peer would be too slow")
    paths = {}
    for weights, per_channel in (("per tensor", False), ("per channel", True)):
        paths[weights] = folder / f"{weights}.onnx"
        quantize_dynamic(
            folder / "fused.onnx",
            paths[weights],
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            # Shape inference does not know the fused operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return paths


def batches_by_length(tokens: Sequence[int], size: int) -> list[list[int]]:
    ordered = sorted(tokens)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def tag(classify: Classifier, tokens: Sequence[int]) -> Array:
    """Return the best label of each token of one batch."""
    mask = (np.arange(max(tokens)) < np.array(tokens)[:, None]).astype(np.int64)
    ids = mask * (1000 + np.arange(mask.shape[1]))
    best: Array = classify(ids, mask).argmax(-1)
    return best


def seconds(classify: Classifier, batches: Sequence[Sequence[int]]) -> float:
    started = time.perf_counter()
    for batch in batches:
        tag(classify, batch)
    return time.perf_counter() - started


def fastest(classifiers: dict[str, Classifier], tokens: Sequence[int]) -> Peer:
    """Return the setting with the shortest of two times."""
    peers = [Peer(classifiers[w], size, w) for w, size in product(classifiers, BATCHES)]
    tried = tokens[:TRIED_ON]
    for peer in peers:
        tag(peer.classify, tried[: peer.batch])  # warm up
    times = [
        [seconds(peer.classify, batches_by_length(tried, peer.batch)) for peer in peers]
        for _ in range(2)
    ]
    best = np.min(times, axis=0).argmin()
    return peers[int(best)]


def load_peers(tokens: Sequence[int], threads: int) -> Iterator[tuple[str, Peer]]:
    torch.set_num_threads(threads)
    for name, make in (("bert int8", bert), ("distilbert int8", distilbert)):
        with TemporaryDirectory() as folder:
            paths = export_int8(make(), Path(folder))
            sessions = {weights: in_onnx_runtime(path, threads) for weights, path in paths.items()}
        yield name, fastest(sessions, tokens)
    model = bert()
    model.set_attn_implementation("sdpa")
    yield "bert float32", fastest({"float32": in_torch(model)}, tokens)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    logging.disable(logging.WARNING)

    def reply(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=replies, flush=True)

    request = json.loads(sys.stdin.readline())
    tokens = [min(count, LONGEST) for count in request["tokens"]]
    peers = dict(load_peers(tokens, request["threads"]))
    reply({name: {"batch": p.batch, "weights": p.weights} for name, p in peers.items()})
    for line in sys.stdin:
        request = json.loads(line)
        peer = peers[request["model"]]
        mine = batches_by_length(tokens, peer.batch)[request["turn"] :: request["turns"]]
        taken = seconds(peer.classify, mine)
        reply({"sentences": sum(map(len, mine)), "seconds": taken})


main()
