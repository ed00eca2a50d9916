"""Is a model file what it claims to be, and does it work here?"""

from collections.abc import Callable, Iterator
from pathlib import Path

from ner_edge.errors import ModelError, UsageError
from ner_edge.export.describe.manifest import (
    Check,
    FileFacts,
    MadeOf,
    Manifest,
    manifest_path,
    read_manifest,
)
from ner_edge.export.verify.integrity import read_whole
from ner_edge.export.verify.tokens import BATTERY
from ner_edge.files.atomic import write_text
from ner_edge.gguf.metadata import ModelFacts, describe


class Verification:
    """The checks of a GGUF file made by `export`, cheapest first; the last ones load it.

    With `against`, a base, and the `adapter` that was merged into it, if one was, the file is also
    compared with the torch model of both (see `parity`). Iterate over it for the checks, then
    `record` them.
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
        self.checks: list[Check] = []
        self._against = against
        self._adapter = adapter
        self._threads = threads
        self._progress = progress
        self._sha256 = ""

    def __iter__(self) -> Iterator[Check]:
        """Make the checks. `progress` gets tensors read and in all. Raises `ModelError` if the
        model is no complete GGUF file."""
        for check in self._run():
            self.checks.append(check)
            yield check

    @property
    def passed(self) -> bool:
        """Did no check fail?"""
        return all(check.ok is not False for check in self.checks)

    def record(self) -> Path:
        """Write the manifest beside the model and return its path. What an earlier one says of the
        same file is kept. Raises `UsageError` if the checks were not made or not passed."""
        if not self._sha256 or not self.passed:
            raise UsageError(f"{self.model}: has not passed its checks; there is nothing to record")
        earlier = read_manifest(self.model)
        checks = {check.name: check for check in (earlier.checks if earlier else [])}
        checks.update((check.name, check) for check in self.checks)
        facts = describe(self.model)
        made_of = earlier.made_of if earlier else _made_of(facts.provenance)
        path = manifest_path(self.model)
        manifest = Manifest(FileFacts.of(facts), self._sha256, made_of, list(checks.values()))
        write_text(manifest.to_json(), str(path))
        return path

    def _run(self) -> Iterator[Check]:
        facts = describe(self.model)
        yield Check("complete", True, f"{facts.size_bytes / 1e6:.1f} MB, {facts.quant}")
        integrity = read_whole(self.model, self._progress)
        yield from self._compare_with_record(integrity.sha256, facts)
        self._sha256 = integrity.sha256
        yield integrity.finite
        if facts.task is None:
            yield Check("task", False, "none inside; `ner-edge tag` cannot use the file")
            return
        yield Check("task", True, f"{facts.task.name} ({', '.join(facts.task.labels)})")
        yield from _at_work(self.model, self._threads)
        if self._against is not None:
            from ner_edge.export.verify.parity import check_parity

            yield from check_parity(self.model, self._against, self._adapter, threads=self._threads)

    def _compare_with_record(self, digest: str, facts: ModelFacts) -> Iterator[Check]:
        """Is it the very file of its manifest, is it what that says, and did it pass?"""
        name = manifest_path(self.model).name
        try:
            recorded = read_manifest(self.model)
        except ModelError as error:
            yield Check("sha256", False, f"{digest}, but {error}")
            return
        if recorded is None:
            yield Check("sha256", True, f"{digest} (no {name} to compare with)")
        elif recorded.sha256 != digest:
            yield Check("sha256", False, f"{digest}, but {name} has {recorded.sha256}")
        else:
            yield Check("sha256", True, f"{digest}, as in {name}")
            if wrong := recorded.contradictions(facts):
                yield Check("manifest", False, f"{name} says {'; '.join(wrong)}")
            yield from (check for check in recorded.checks if check.ok is False)


def _made_of(provenance: dict[str, str]) -> MadeOf:
    """As far as the file itself tells."""
    hashed = ("base", "adapter")
    return {k: {"sha256": v} if k in hashed else v for k, v in provenance.items()}


def _at_work(model: Path, threads: int | None) -> Iterator[Check]:
    from ner_edge.runtime.tagger import GGUFTagger

    with GGUFTagger.load(model, threads=threads) as tagger:
        lost = [text for text in BATTERY if tagger.round_trip(text) != text]
        yield Check(
            "tokenizer",
            not lost,
            f"changes {lost[0]!r}" if lost else f"{len(BATTERY)} texts come back as they were",
        )
        found = sum(map(len, tagger.tag_words(text.split(" ") for text in BATTERY)))
        yield Check("tags", True, f"{found} entities in {len(BATTERY)} texts")
