"""What a worker does: read a part, tag its texts, write its file. Ray starts workers as actors."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ner_edge.bulk.attempts import MOST, Attempts
from ner_edge.bulk.batches import ENTITIES, ERROR, tag_batches
from ner_edge.bulk.formats.scan import Scan
from ner_edge.bulk.formats.table import FORMATS
from ner_edge.bulk.manifest import NAME, PlannedPart, Settings
from ner_edge.bulk.model_file import ModelFile
from ner_edge.bulk.part_file import Counts, count, encode
from ner_edge.bulk.storage import Location
from ner_edge.errors import DataError, ModelError, first_line
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.segment import segment
from ner_edge.tagger import Tagger


class Source(NamedTuple):
    """An input file."""

    location: Location
    format: str
    scan: Scan


class Work(NamedTuple):
    """All that a worker needs to know, besides the part."""

    sources: list[Source]
    settings: Settings
    columns: dict[str, Any]
    """The columns of Parquet files made of records."""
    out: Location
    attempts: Attempts


class Done(msgspec.Struct, frozen=True):
    """What became of a part."""

    file: str
    counts: Counts = Counts()
    sentences: int = 0
    begun: float = 0.0
    """When the worker began, in seconds since 1970."""
    ended: float = 0.0
    error: str | None = None
    """Why there is no file."""
    fatal: bool = False
    """Whether the worker cannot make any part."""


@dataclass(frozen=True)
class LoadTagger:
    """Loads the model on the machine of a worker."""

    model: ModelFile
    version: str
    """The version of the tagger that the other workers have."""
    settings: Settings
    threads: int
    gpu_layers: int | None = None

    def __call__(self) -> GGUFTagger:
        """Return the tagger. Raises `ModelError` if its version is another."""
        decoder: Any = self.settings.decoder
        tagger = Tagger.load(
            self.model.here(),
            decoder=decoder,
            depth=self.settings.depth,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
        )
        if tagger.version != self.version:
            raise ModelError(
                f"the machines have several versions of the decoder: {tagger.version} and "
                f"{self.version}; install the same ner-edge and llama.cpp everywhere"
            )
        tagger.min_score = self.settings.min_score
        return tagger


class Worker:
    """Makes one part at a time. A part that fails does not stop it."""

    def __init__(self, load: Callable[[], GGUFTagger], work: Work) -> None:
        self._work = work
        self._unable: Done | None = None
        name = _name()
        try:
            _check_machine(work)
            if (attempts := work.attempts.begin(name)) > MOST:
                raise ModelError(
                    f"a worker died {attempts - 1} times while it loaded the model; "
                    "if memory is short, give fewer --workers"
                )
            self._tagger = load()
        except Exception as error:  # Ray would start this worker again and again
            reason = first_line(error) or type(error).__name__
            self._unable = Done("", error=f"{socket.gethostname()}: {reason}", fatal=True)
        finally:
            work.attempts.end(name)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make the parts of a batch of Ray, whose columns hold JSON."""
        parts = [msgspec.json.decode(data, type=PlannedPart) for data in batch["part"]]
        return {"done": [msgspec.json.encode(self.make(part)).decode() for part in parts]}

    def make(self, planned: PlannedPart) -> Done:
        """Make a part, and return what it holds, or why it failed."""
        if self._unable is not None:
            return self._unable
        begun = time.time()
        if (attempts := self._work.attempts.begin(planned.file)) > MOST:
            return Done(planned.file, error=f"its worker died {attempts - 1} times")
        try:
            counts, sentences = self._make(planned)
        except Exception as error:  # whatever it is, other parts may go well
            reason = first_line(error) or type(error).__name__
            return Done(planned.file, error=reason, fatal=self._work.out.is_full())
        finally:
            self._work.attempts.end(planned.file)
        return Done(planned.file, counts, sentences, begun, time.time())

    def _make(self, planned: PlannedPart) -> tuple[Counts, int]:
        sources, settings, columns, out, _ = self._work
        source = sources[planned.part.input]
        column = settings.text_column
        read = FORMATS[source.format].read
        content = read(source.location, planned.part, source.scan, column)
        if len(content.texts) != planned.part.rows:
            raise RuntimeError(f"{source.location.shown}: has {len(content.texts)} texts")
        texts = [
            None if problem else text
            for text, problem in zip(content.texts, content.problems, strict=True)
        ]
        (tagged,) = tag_batches(self._tagger, [{"text": texts}])
        errors = [p or e for p, e in zip(content.problems, tagged[ERROR], strict=True)]
        entities: Any = tagged[ENTITIES]
        data = encode(content, entities, errors, settings.format, columns, column)
        out.child(planned.file).write(data)
        sentences = sum(1 for text in texts if isinstance(text, str) for _ in segment(text))
        return count(entities, errors), sentences


def _name() -> str:
    """Return the name of this worker, which it keeps when Ray starts it again."""
    import ray

    if not ray.is_initialized():  # asking would start it
        return "worker"
    return f"worker-{ray.get_runtime_context().get_actor_id()}"


def _check_machine(work: Work) -> None:
    """Raise `DataError` if this machine does not see the folders of the others."""
    if NAME not in work.out.names():
        raise DataError(f"{work.out.shown}: is not the folder that the other machines see")
    with work.sources[0].location.open():
        pass
