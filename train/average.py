"""The mean of several LoRA adapters of one base, which is often better than each of them ("model
soups", Wortsman et al. 2022) and no larger.

It is the mean of the updates scaling·B·A that the adapters add to the weights, and of their word
heads. A mean of A and of B would be meaningless, because separately trained factors are not
aligned.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from peft import LoraConfig
from safetensors.numpy import load_file, save_file

from ner_edge.errors import ModelError, UsageError, first_line
from ner_edge.files.atomic import atomic_path, make_folder
from ner_edge.files.targets import check_folder
from ner_edge.hf.adapter_config import WEIGHTS_FILE, check_adapter
from ner_edge.hf.word_head import read_word_head, write_word_head
from ner_edge.task import load_saved_task
from ner_edge.train.fingerprint import FINGERPRINT_KEY
from ner_edge.train.model import save_config
from ner_edge.training_record import read_attributions, read_record, union, write_record
from ner_edge.word_head import Linear, WordHead

Matrix = NDArray[np.float32]


class _Adapter(NamedTuple):
    folder: Path
    config: LoraConfig
    weights: dict[str, Matrix]
    settings: dict[str, Any]
    head: WordHead | None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """[out, in] of each update, by the name of its A."""
        b = {name: self.weights[_name_of_b(name)].shape[0] for name in _names_of_a(self.weights)}
        return {name: (rows, self.weights[name].shape[1]) for name, rows in b.items()}


def average_adapters(folders: Sequence[Path], out: Path, rank: int | None = None) -> float:
    """Write the mean of the adapters in `folders` to the new folder `out`, with their task.

    The rank of the exact mean is the sum of their ranks; it is truncated to `rank`, by default the
    first adapter's. Returns the share of the mean's squared Frobenius norm that remains. Raises
    `ModelError` if the adapters do not belong together, `UsageError` if there are fewer than two,
    if `out` exists or cannot be written, or if `rank` is not positive.
    """
    if len(folders) < 2:
        raise UsageError("give two or more adapters to average")
    if out.exists():
        raise UsageError(f"--out {out}: exists already; give a new folder")
    check_folder(f"--out {out}", out)
    adapters = [_read(folder) for folder in folders]
    for other in adapters[1:]:
        _check_match(adapters[0], other)
    rank = adapters[0].config.r if rank is None else rank
    if rank < 1:
        raise UsageError(f"--rank must be positive, not {rank}")
    weights: dict[str, NDArray[np.float16]] = {}
    kept = total = 0.0
    for name in adapters[0].shapes:
        a, b, strengths = _mean_product(adapters, name, rank)
        weights |= {name: a.astype(np.float16), _name_of_b(name): b.astype(np.float16)}
        kept += (strengths[:rank] ** 2).sum()
        total += (strengths**2).sum()
    _save(adapters, out, rank, weights)
    return kept / total if total else 1.0


def _check_match(first: _Adapter, other: _Adapter) -> None:
    if other.shapes != first.shapes:
        raise ModelError(f"{other.folder}: has other layers than {first.folder}")
    if load_saved_task(other.folder) != load_saved_task(first.folder):
        raise ModelError(f"{other.folder}: was trained for another task than {first.folder}")
    if (first.head is None) != (other.head is None):
        causal, both = (first, other) if first.head is None else (other, first)
        raise ModelError(
            f"{causal.folder}: has no word head, but {both.folder} has one; adapters that read in "
            "different ways cannot be averaged"
        )
    if first.head and other.head and _form(first.head) != _form(other.head):
        raise ModelError(
            f"{other.folder}: its word head has other labels or layers than that of {first.folder}"
        )
    bases = {adapter.settings.get(FINGERPRINT_KEY) for adapter in (first, other)} - {None}
    if len(bases) > 1:
        raise ModelError(f"{other.folder}: was trained on another base than {first.folder}")


def _form(head: WordHead) -> tuple[tuple[str, ...], dict[int, tuple[int, ...]]]:
    return head.labels, {depth: layer.weight.shape for depth, layer in head.layers.items()}


def _mean_head(heads: Sequence[WordHead]) -> WordHead:
    layers = {}
    for depth in heads[0].layers:
        weights, biases = zip(*(head.layers[depth] for head in heads), strict=True)
        layers[depth] = Linear(np.stack(weights).mean(0), np.stack(biases).mean(0))
    # One that was trained to read passages is enough: the mean does so, too.
    return replace(heads[0], layers=layers, passage=max(head.passage for head in heads))


def _mean_product(
    adapters: Sequence[_Adapter], name: str, rank: int
) -> tuple[Matrix, Matrix, Matrix]:
    """A [rank, in] and B [out, rank] of the best approximation of the mean of scaling·B·A, and all
    singular values of that mean, without forming the product [out, in] itself."""
    scales = [adapter.config.lora_alpha / adapter.config.r for adapter in adapters]
    parts = [adapter.weights for adapter in adapters]
    a = np.concatenate([part[name] for part in parts])
    b = np.concatenate(
        [part[_name_of_b(name)] * s for part, s in zip(parts, scales, strict=True)], axis=1
    ) / len(parts)
    basis_b, triangle_b = np.linalg.qr(b)
    basis_a, triangle_a = np.linalg.qr(a.T)
    left, strengths, right = np.linalg.svd(triangle_b @ triangle_a.T)
    root = np.sqrt(strengths[:rank])
    low_b = basis_b @ (left[:, : len(root)] * root)
    low_a = (right[: len(root)].T * root).T @ basis_a.T
    missing = rank - len(root)  # a narrow matrix has fewer
    low_b = np.pad(low_b, [(0, 0), (0, missing)])
    return np.pad(low_a, [(0, missing), (0, 0)]), low_b, strengths


def _save(
    adapters: Sequence[_Adapter], out: Path, rank: int, weights: dict[str, NDArray[np.float16]]
) -> None:
    first = adapters[0]
    make_folder(out)
    first.config.r = first.config.lora_alpha = rank
    save_config(first.config, out)
    if task := load_saved_task(first.folder):
        task.save(out)
    record = {
        "base": first.config.base_model_name_or_path,
        FINGERPRINT_KEY: first.settings.get(FINGERPRINT_KEY),
        "attribution": union(read_attributions(adapter.folder) for adapter in adapters),
        "mean_of": [adapter.settings for adapter in adapters],
    }
    write_record(out, record)
    if heads := [adapter.head for adapter in adapters if adapter.head]:
        write_word_head(_mean_head(heads), out)
    with atomic_path(out / WEIGHTS_FILE) as path:  # last: without weights it is no adapter
        save_file(weights, path, {"format": "pt"})


def _read(folder: Path) -> _Adapter:
    check_adapter(folder)
    try:
        config = LoraConfig.from_pretrained(str(folder))
        loaded = load_file(folder / WEIGHTS_FILE)
        weights = {name: weight.astype(np.float32) for name, weight in loaded.items()}
        names = _names_of_a(weights)
        plain = weights.keys() == {*names, *map(_name_of_b, names)}
        if not plain or config.use_rslora or config.rank_pattern or config.alpha_pattern:
            raise ValueError("more than plain LoRA")
    except Exception as error:  # peft and safetensors raise anything on a damaged adapter
        raise ModelError(f"{folder}: cannot be averaged ({first_line(error)})") from error
    return _Adapter(folder, config, weights, read_record(folder), read_word_head(folder))


def _names_of_a(weights: dict[str, Matrix]) -> list[str]:
    return [name for name in weights if ".lora_A." in name]


def _name_of_b(name: str) -> str:
    return name.replace(".lora_A.", ".lora_B.")
