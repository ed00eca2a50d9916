"""Run by `torchrun`: train a tiny model, print the smoothed loss after every step as JSON.

loss_curve.py BASE DATA OUT [--shard]
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ner_edge.data.labelled import read_labelled
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import load_base
from ner_edge.task import Task
from ner_edge.train.attention import NAME
from ner_edge.train.batches import Schedule, Share
from ner_edge.train.loop import train
from ner_edge.train.model import add_adapter, save_adapter
from ner_edge.train.processes import shard_base
from ner_edge.train.settings import TrainSettings

base, data, out = map(Path, sys.argv[1:4])
shard = sys.argv[4:] == ["--shard"]
out.mkdir(exist_ok=True)
dist.init_process_group("gloo")
settings = TrainSettings(
    rank=4,
    alpha=8,
    batch_size=3,
    max_tokens=60,  # so that the processes pass through the model unequally often
    epochs=2,
    learning_rate=0.01,
    dtype="float32",
    shard=shard,
)
model, tokenizer = load_base(base, torch.float32, torch.device("cpu"), NAME)
model = add_adapter(model, settings)
if shard:
    layers = model.get_base_model().model.layers
    frozen = [weight for weight in layers.parameters() if not weight.requires_grad]
    whole = sum(weight.nbytes for weight in frozen)
    shard_base(model, torch.device("cpu"))
    frozen = [weight for weight in layers.parameters() if not weight.requires_grad]
    assert sum(weight.to_local().nbytes for weight in frozen) == whole / 2
encoder = PromptEncoder(tokenizer, Task("tiny", {"PER": "person", "LOC": "location"}, "Find."))
examples = [encoder.example(sentence) for sentence in read_labelled(data)]
losses: list[float] = []
train(
    model,
    encoder.prefix,
    examples,
    Schedule([*map(len, examples)], [Share(len(examples))], 3, settings.epochs, settings.seed),
    settings,
    out,
    identity={},
    report=lambda step: losses.append(step.loss),
)
if dist.get_rank() == 0:
    save_adapter(model, out, str(base))
    print(json.dumps(losses))
dist.destroy_process_group()
