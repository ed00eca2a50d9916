"""The word head: a linear layer that tags each word while the sentence is read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from ner_edge.files.atomic import atomic_path
from ner_edge.hf.word_head import HEAD_FILE, LABELS_KEY
from ner_edge.tags import tag_set

_STEP = 4  # layers between two heads


class WordHead(torch.nn.Module):
    """Tags of words from the hidden states of their last tokens, after several of the layers.

    The states after the last layer are those of the model's final norm; the others are divided by
    their root mean square, so that all are of one scale.
    """

    def __init__(self, config: Any, labels: Sequence[str], *, early: bool, seed: int = 0) -> None:
        super().__init__()
        layers, width, epsilon = config.num_hidden_layers, config.hidden_size, config.rms_norm_eps
        self.epsilon: float = epsilon
        self.last: int = layers
        depths = range(-(-layers // 2 // _STEP) * _STEP, layers, _STEP) if early else ()
        self.labels = list(labels)
        self.depths = [*depths, layers]
        generator = torch.Generator().manual_seed(seed)
        self.layers = torch.nn.ModuleDict()
        for depth in self.depths:
            linear = torch.nn.Linear(width, len(tag_set(labels)))
            torch.nn.init.normal_(linear.weight, std=0.02, generator=generator)
            torch.nn.init.zeros_(linear.bias)
            self.layers[str(depth)] = linear

    def forward(self, states: torch.Tensor, depth: int) -> torch.Tensor:
        """Logits [W, tags] of the hidden states [W, dim] after `depth` layers."""
        states = states.float()
        if depth != self.last:
            states = states * torch.rsqrt(states.square().mean(-1, keepdim=True) + self.epsilon)
        logits: torch.Tensor = self.layers[str(depth)](states)
        return logits

    def save(self, folder: Path) -> None:
        """Write the head beside an adapter, as float32 safetensors."""
        weights = {name: w.detach().float().cpu() for name, w in self.state_dict().items()}
        with atomic_path(folder / HEAD_FILE) as path:
            path.write_bytes(save(weights, {LABELS_KEY: json.dumps(self.labels)}))
