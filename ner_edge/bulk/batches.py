"""Tag column batches from any engine: Ray Data, Spark, datasets or a plain loop."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ner_edge.data.documents import Document
from ner_edge.data.formats.offsets import entity_objects
from ner_edge.errors import ModelError, UsageError, first_line
from ner_edge.runtime.tagger import Entity, GGUFTagger
from ner_edge.tagger import with_entities

ENTITIES, ERROR = "entities", "error"
Batch = TypeVar("Batch")


class _Outcome(NamedTuple):
    entities: list[dict[str, Any]]
    error: str | None


def tag_batches(
    tagger: GGUFTagger, batches: Iterable[Batch], text_column: str = "text"
) -> Iterator[Batch]:
    """Yield each batch with the columns `entities` and `error`, in order.

    A batch is a mapping of columns, a pandas DataFrame or a pyarrow Table; it comes back as the
    same kind. `entities` has a list of objects per text, as `ner-edge tag` writes them. A text
    that is null, no string, or that cannot be tagged has no entities, and the reason in `error`,
    which is null for all others. Sentences of several batches are decoded together, in bounded
    memory. Raises `UsageError` if there is no such column or one of the new columns exists.
    """
    begun: deque[tuple[Batch, int]] = deque()

    def values() -> Iterator[object]:
        for batch in batches:
            texts = _column(batch, text_column)
            begun.append((batch, len(texts)))
            yield from texts

    done: list[_Outcome] = []
    for outcome in _outcomes(tagger, values()):
        while begun[0][1] == 0:
            yield _with_results(begun.popleft()[0], [])
        done.append(outcome)
        if len(done) == begun[0][1]:
            yield _with_results(begun.popleft()[0], done)
            done = []
    for batch, _ in begun:  # without texts
        yield _with_results(batch, [])


def _outcomes(tagger: GGUFTagger, values: Iterator[object]) -> Iterator[_Outcome]:
    begun: deque[object] = deque()
    failure: list[Exception] = []  # of the source, not of a text

    def texts() -> Iterator[str]:
        try:
            for value in values:
                begun.append(value)
                if isinstance(value, str):
                    yield value
        except Exception as error:
            failure.append(error)

    at_end = False
    while not at_end:
        try:
            for entities in tagger.pipe(texts()):
                while not isinstance(text := begun.popleft(), str):
                    yield _no_text(text)
                yield _found(text, entities)
            at_end = True
        except (ModelError, UsageError):
            raise
        except Exception:  # one of the texts that were begun; which, `pipe` does not tell
            pass
        while begun:
            yield _alone(tagger, begun.popleft())
    if failure:
        raise failure[0]


def _alone(tagger: GGUFTagger, value: object) -> _Outcome:
    if not isinstance(value, str):
        return _no_text(value)
    try:
        (entities,) = tagger.pipe([value])
    except (ModelError, UsageError):
        raise
    except Exception as error:
        return _Outcome([], first_line(error) or type(error).__name__)
    return _found(value, entities)


def _found(text: str, entities: Iterable[Entity]) -> _Outcome:
    return _Outcome(entity_objects(with_entities(Document(0, text, []), entities)), None)


def _no_text(value: object) -> _Outcome:
    is_null = value is None or value != value or type(value).__name__ == "NAType"  # NaN, pandas.NA
    return _Outcome([], "is null" if is_null else f"is no string, but {type(value).__name__}")


def _column(batch: Any, name: str) -> Sequence[object]:
    columns = list(batch) if isinstance(batch, Mapping) else _names(batch)
    if name not in columns:
        raise UsageError(f"no column named {name}, only {', '.join(map(str, columns))}")
    if taken := [column for column in (ENTITIES, ERROR) if column in columns]:
        raise UsageError(f"a column named {taken[0]} exists already; rename it")
    values: Any = batch[name]
    if hasattr(values, "to_pylist"):  # pyarrow
        return list(values.to_pylist())
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _names(batch: Any) -> list[object]:
    return list(batch.column_names if _is_arrow(batch) else batch.columns)


def _is_arrow(batch: object) -> bool:
    return hasattr(batch, "append_column")


def _with_results(batch: Any, outcomes: Sequence[_Outcome]) -> Any:
    entities = [outcome.entities for outcome in outcomes]
    errors = [outcome.error for outcome in outcomes]
    if isinstance(batch, Mapping):
        return {**batch, ENTITIES: entities, ERROR: errors}
    if _is_arrow(batch):
        from ner_edge.bulk.tables import with_columns

        return with_columns(batch, entities, errors)
    return batch.assign(**{ENTITIES: entities, ERROR: errors})
