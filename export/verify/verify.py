"""Check that a model file is intact, agrees with its manifest, and works on this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ner_edge.errors import ModelError, UsageError
from ner_edge.export.describe.manifest import (
    CheckResult,
    FileRecord,
    Manifest,
    Provenance,
    manifest_path,
    read_manifest,
)
from ner_edge.export.verify.integrity import check_integrity
from ner_edge.export.verify.tokens import BATTERY
from ner_edge.files.atomic import write_text
from ner_edge.gguf.metadata import ModelMetadata, describe


class Verification:
    """The checks of a GGUF file, cheapest first; the last ones load the model.

    Iterate over it to run the checks, then call `record` to write them to the manifest. With
    `against`, a base model, and the `adapter` merged into it, if any, the file is also compared
    with the torch model of both (see `parity`).
    """

    def __init__(
        self,
        model: Path,
        *,
        against: Path | None = None,
        adapter: Path | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.model = model
        self.checks: list[CheckResult] = []
        self._against = against
        self._adapter = adapter
        self._threads = threads
        self._progress = progress
        self._sha256 = ""

    def __iter__(self) -> Iterator[CheckResult]:
        """Run the checks. `progress` gets the tensors read and their total. Raises `ModelError` if
        the model is not a complete GGUF file."""
        for check in self._run():
            self.checks.append(check)
            yield check

    @property
    def passed(self) -> bool:
        """True if no check failed."""
        return all(check.ok is not False for check in self.checks)

    def record(self) -> Path:
        """Write the manifest beside the model and return its path.

        Provenance and other checks in an earlier manifest of the same file are kept. Raises
        `UsageError` if the checks were not run or not all passed.
        """
        if not self._sha256 or not self.passed:
            raise UsageError(f"{self.model}: has not passed its checks; there is nothing to record")
        earlier = read_manifest(self.model)
        checks = {check.name: check for check in (earlier.checks if earlier else [])}
        checks.update((check.name, check) for check in self.checks)
        metadata = describe(self.model)
        manifest = Manifest(
            FileRecord.of(metadata),
            self._sha256,
            earlier.provenance if earlier else _provenance(metadata),
            list(checks.values()),
        )
        path = manifest_path(self.model)
        write_text(manifest.to_json(), str(path))
        return path

    def _run(self) -> Iterator[CheckResult]:
        metadata = describe(self.model)
        yield CheckResult("complete", True, f"{metadata.size_bytes / 1e6:.1f} MB, {metadata.quant}")
        integrity = check_integrity(self.model, self._progress)
        yield from self._compare_with_manifest(integrity.sha256, metadata)
        self._sha256 = integrity.sha256
        yield integrity.finite
        if metadata.task is None:
            yield CheckResult("task", False, "not in the file, so `ner-edge tag` cannot use it")
            return
        labels = ", ".join(metadata.task.labels)
        yield CheckResult("task", True, f"{metadata.task.name} ({labels})")
        if metadata.word_head:
            yield CheckResult("reading", True, _reading(metadata))
        yield from _tag_battery(self.model, self._threads)
        if self._against is not None:
            from ner_edge.export.verify.parity import check_parity

            yield from check_parity(self.model, self._against, self._adapter, threads=self._threads)

    def _compare_with_manifest(self, sha256: str, metadata: ModelMetadata) -> Iterator[CheckResult]:
        """Compare hash and metadata, and repeat the checks that failed during the export."""
        name = manifest_path(self.model).name
        try:
            recorded = read_manifest(self.model)
        except ModelError as error:
            yield CheckResult("sha256", False, f"{sha256}, but {error}")
            return
        if recorded is None:
            yield CheckResult("sha256", True, f"{sha256} (no {name} to compare with)")
        elif recorded.sha256 != sha256:
            yield CheckResult("sha256", False, f"{sha256}, but {name} has {recorded.sha256}")
        else:
            yield CheckResult("sha256", True, f"{sha256}, as in {name}")
            if wrong := recorded.contradictions(metadata):
                yield CheckResult("manifest", False, f"{name} says {'; '.join(wrong)}")
            yield from (check for check in recorded.checks if check.ok is False)


def _provenance(metadata: ModelMetadata) -> Provenance:
    """The provenance as far as the file's own metadata holds it."""
    hashed = ("base", "adapter")
    return {k: {"sha256": v} if k in hashed else v for k, v in metadata.provenance.items()}


def _reading(metadata: ModelMetadata) -> str:
    assert metadata.word_head is not None
    depths = ", ".join(map(str, sorted(metadata.word_head.layers)))
    threshold = metadata.calibration.threshold
    doubt = f"words are in doubt up to {threshold:.4g}" if threshold < 1 else "no threshold fitted"
    return f"both ways, word head after layers {depths}; {doubt}"


def _tag_battery(model: Path, threads: int | None) -> Iterator[CheckResult]:
    from ner_edge.runtime.tagger import GGUFTagger

    with GGUFTagger.load(model, threads=threads) as tagger:
        lost = [text for text in BATTERY if tagger.round_trip(text) != text]
        detail = f"changes {lost[0]!r}" if lost else f"{len(BATTERY)} texts survive a round trip"
        yield CheckResult("tokenizer", not lost, detail)
        found = sum(map(len, tagger.tag_words(text.split(" ") for text in BATTERY)))
        yield CheckResult("tags", True, f"{found} entities in {len(BATTERY)} texts")
