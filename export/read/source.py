"""The source of an export: a base, with or without an adapter, their task and their provenance."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gguf import GGUFValue
from numpy.typing import NDArray

from ner_edge import __version__
from ner_edge.calibration import Calibration, load_saved_calibration
from ner_edge.errors import ModelError
from ner_edge.export.describe.manifest import CheckResult, Provenance
from ner_edge.export.read.adapter import Adapter, LoraPair, open_adapter
from ner_edge.export.read.base import Base, Tensor, metadata_text, open_gguf_base
from ner_edge.export.read.hf_base import open_hf_base
from ner_edge.export.write_gguf import text_value
from ner_edge.files.hashing import sha256_of
from ner_edge.files.inputs import name_as_text
from ner_edge.gguf.metadata import describe
from ner_edge.gguf.word_head import word_head_metadata
from ner_edge.hf.word_head import read_word_head
from ner_edge.task import GGUF_KEY, Task, load_saved_task
from ner_edge.training_record import ATTRIBUTION_KEY, read_attributions, union
from ner_edge.word_head import WordHead


@dataclass(frozen=True)
class Source:
    """A base, an optional adapter, and both merged."""

    base: Base
    adapter: Adapter | None
    task: Task | None
    calibration: Calibration
    attribution: Sequence[str]
    """The credits that licences of the training data ask for."""
    word_head: WordHead | None
    merged: Base
    changed: set[str]
    """Tensors of `merged` that differ from the base's; complete once all have been read."""
    base_sha256: str

    @property
    def name(self) -> str:
        """The name of the adapter, or of the base if there is none."""
        if self.adapter is not None:
            return self.adapter.path.resolve().name
        return self.base.path.resolve().name.removesuffix(".gguf")

    @property
    def files(self) -> list[Path]:
        """The files that the export reads."""
        files = list(self.base.weight_files)
        if self.base.path.is_dir():
            files += [path for path in self.base.path.iterdir() if path.is_file()]
        if self.adapter is not None:
            files += [path for path in self.adapter.path.iterdir() if path.is_file()]
        return files

    def metadata(self) -> dict[str, GGUFValue]:
        """Return provenance, task, calibration and word head as metadata of an exported file."""
        values = {"ner_edge.version": __version__, "ner_edge.base_sha256": self.base_sha256}
        if self.adapter is not None:
            values["ner_edge.adapter_sha256"] = self.adapter.sha256
        if self.task is not None:
            values[GGUF_KEY] = self.task.to_json()
        if self.attribution:
            values[ATTRIBUTION_KEY] = "\n".join(self.attribution)
        values |= self.calibration.to_metadata()
        metadata = {key: text_value(value) for key, value in values.items()}
        return metadata | (word_head_metadata(self.word_head) if self.word_head else {})

    def provenance(self) -> Provenance:
        """Return the provenance for the manifest."""
        provenance: dict[str, str | Mapping[str, str | float]] = {
            "ner-edge": __version__,
            "base": {"name": name_as_text(self.base.path.resolve()), "sha256": self.base_sha256},
        }
        if self.adapter is not None:
            name = name_as_text(self.adapter.path.resolve())
            provenance["adapter"] = {"name": name, "sha256": self.adapter.sha256}
        return provenance

    def check_merged(self) -> CheckResult | None:
        """Check that the adapter changed a tensor; None if there is no adapter."""
        if self.adapter is None:
            return None
        count = len(self.merged.tensors)
        detail = f"{len(self.changed)} of {count} tensors differ from the base in float32"
        return CheckResult("merged", bool(self.changed), detail)


def open_source(
    base: Path,
    adapter: Path | None,
    task: Task | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Source:
    """Open a base and an adapter; no weight is kept in memory. The task is `task`, else the one
    saved beside the adapter or model, else the base's own. Word head and calibration are likewise
    the adapter's, or the base's own if there is none. `progress` gets the bytes of the base that
    are hashed, and their total.

    Raises `ModelError` if they are damaged or do not fit.
    """
    model = open_base(base)
    lora = None if adapter is None else open_adapter(adapter, model)
    known = task or _known_task(model, adapter)
    head, calibration = _reading(adapter or model.path)
    if head:
        _check_head(head, adapter or model.path, known, model)
    changed: set[str] = set()
    return Source(
        model,
        lora,
        known,
        calibration,
        _attribution(model, adapter),
        head,
        model if lora is None else merge(model, lora, changed),
        changed,
        base_sha256(model, progress),
    )


def merge(base: Base, adapter: Adapter, changed: set[str] | None = None) -> Base:
    """Return the base with each adapted weight replaced by `W + scale · B · A`, computed in float32
    when it is read.

    An adapted `lm_head` on tied embeddings becomes a weight of its own: the embedding stays.
    `changed` receives the name of each tensor once a row that differs from the base is read.
    """
    tensors = dict(base.tensors)
    seen = set() if changed is None else changed
    for name, pair in adapter.pairs.items():
        source = tensors.get(name) or tensors["token_embd.weight"]
        tensors[name] = Tensor(name, source.shape, _adder(source, pair, seen))
    return replace(base, tensors=tensors)


def _adder(
    source: Tensor, pair: LoraPair, changed: set[str]
) -> Callable[[int, int], NDArray[np.float32]]:
    def read_slice(start: int, end: int) -> NDArray[np.float32]:
        weight = source.read_slice(start, end)
        delta = pair.delta(start, end)
        if pair.tensor in changed:
            weight += delta
            return weight
        merged = weight + delta
        if not np.array_equal(merged, weight):
            changed.add(pair.tensor)
        return merged

    return read_slice


def open_base(path: Path) -> Base:
    """Open a Hugging Face folder or a GGUF file. Raises `ModelError` if it is neither."""
    if not path.exists():
        raise ModelError(f"{path}: no such base model (give a model folder or a GGUF file)")
    return open_hf_base(path) if path.is_dir() else open_gguf_base(path)


def base_sha256(base: Base, progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """Return the SHA-256 of the weight file; of several files, that of the output of `sha256sum`
    for them."""
    total = sum(path.stat().st_size for path in base.weight_files)
    done = 0

    def advance(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    digests = {path.name: sha256_of(path, advance) for path in base.weight_files}
    if len(digests) == 1:
        return next(iter(digests.values()))
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def _reading(path: Path) -> tuple[WordHead | None, Calibration]:
    """The word head and the calibration beside an adapter or model, or in a GGUF."""
    if path.is_dir():
        return read_word_head(path), load_saved_calibration(path)
    metadata = describe(path)
    return metadata.word_head, metadata.calibration


def _attribution(base: Base, adapter: Path | None) -> list[str]:
    """Those of the adapter's data, and of the data that the base itself was trained on."""
    inside = metadata_text(base, ATTRIBUTION_KEY) or ""
    folders = [path for path in (base.path, adapter) if path and path.is_dir()]
    return union([inside.split("\n"), *map(read_attributions, folders)])


def _check_head(head: WordHead, path: Path, task: Task | None, base: Base) -> None:
    if task is None or list(head.labels) != list(task.labels):
        raise ModelError(
            f"{path}: its word head tags {', '.join(head.labels)}, but the task's labels are "
            f"{', '.join(task.labels) if task else 'unknown'}"
        )
    sizes = base.hyperparameters
    width = head.layers[head.last].weight.shape[1]
    if (head.last, width) != (sizes.layers, sizes.width):
        raise ModelError(
            f"{path}: its word head is for {head.last} layers of width {width}, but {base.path} "
            f"has {sizes.layers} of width {sizes.width}"
        )


def _known_task(model: Base, adapter: Path | None) -> Task | None:
    folder = adapter or model.path
    saved = load_saved_task(folder) if folder.is_dir() else None
    text = metadata_text(model, GGUF_KEY)
    return Task.from_json(text, str(model.path)) if saved is None and text is not None else saved
