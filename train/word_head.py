"""The word head: linear layers that tag each word while the sentence is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ner_edge.errors import ModelError
from ner_edge.hf.word_head import HEAD_FILE, read_word_head, write_word_head
from ner_edge.tags import tag_set
from ner_edge.train.passages import LONGEST
from ner_edge.train.settings import TrainSettings
from ner_edge.word_head import Linear, WordHead

_STEP = 4  # layers between two heads


class WordHeadModule(torch.nn.Module):
    """Tags of words from the hidden states of their last tokens, after several of the layers.

    The states after the last layer are those of the model's final norm; the others are divided by
    their root mean square, so that all are of one scale.
    """

    def __init__(self, config: Any, labels: Sequence[str], *, early: bool, seed: int = 0) -> None:
        super().__init__()
        self.epsilon: float = config.rms_norm_eps
        self.last: int = config.num_hidden_layers
        self.labels = list(labels)
        self.passage = 0
        """The most words of the passages that it was trained to read."""
        self.depths = head_depths(self.last, early=early)
        self.new = list(self.depths)
        """The depths whose layers are random."""
        generator = torch.Generator().manual_seed(seed)
        self.layers = torch.nn.ModuleDict()
        for depth in self.depths:
            linear = torch.nn.Linear(config.hidden_size, len(tag_set(labels)))
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

    def load(self, folder: Path) -> None:
        """Take the layers of the word head beside the adapter in `folder`, if there is one; depths
        that it lacks stay random.

        Raises `ModelError` if it has other labels, or is for another base.
        """
        saved = read_word_head(folder)
        if saved is None:
            return
        if list(saved.labels) != self.labels:
            raise ModelError(
                f"{folder / HEAD_FILE}: has the labels {', '.join(saved.labels)}, but the task has "
                f"{', '.join(self.labels)}; both must be the same, in the same order"
            )
        self.passage = max(self.passage, saved.passage)
        for depth in self.depths:
            if depth in saved.layers:
                self._set(depth, saved.layers[depth], folder)
        self.new = [depth for depth in self.depths if depth not in saved.layers]

    def _set(self, depth: int, saved: Linear, folder: Path) -> None:
        weight, bias = self._parameters_of(depth)
        if weight.shape != saved.weight.shape:
            raise ModelError(
                f"{folder / HEAD_FILE}: is for hidden states of {saved.weight.shape[1]} values; "
                f"those of the base have {weight.shape[1]}"
            )
        weight.data.copy_(torch.from_numpy(saved.weight))
        bias.data.copy_(torch.from_numpy(saved.bias))

    def save(self, folder: Path) -> None:
        """Write the head beside an adapter, in float32."""
        layers = {}
        for depth in self.depths:
            weight, bias = (p.detach().cpu().numpy() for p in self._parameters_of(depth))
            layers[depth] = Linear(weight, bias)
        head = WordHead(tuple(self.labels), layers, self.epsilon, self.passage)
        write_word_head(head, folder)

    def _parameters_of(self, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        layer = self.layers.get_submodule(str(depth))
        return layer.get_parameter("weight"), layer.get_parameter("bias")


def head_depths(layers: int, *, early: bool) -> list[int]:
    """Return the layers of a model after which words are tagged: the last, and if `early` every
    fourth from the middle on."""
    middle = -(-layers // 2 // _STEP) * _STEP
    return [*(range(middle, layers, _STEP) if early else ()), layers]


def add_word_head(
    model: Any, labels: Sequence[str], settings: TrainSettings, start: Path | None
) -> None:
    """Give the base of a peft `model` a word head: new, or that of the adapter in `start`."""
    base = model.get_base_model()
    head = WordHeadModule(base.config, labels, early=settings.early_loss > 0, seed=settings.seed)
    if settings.passages:
        head.passage = LONGEST
    if start:
        head.load(start)
    base.word_head = head.to(base.device)


def word_head_of(model: Any) -> WordHeadModule | None:
    """Return the word head of a peft model; None if it reads causally."""
    return getattr(model.get_base_model(), "word_head", None)
