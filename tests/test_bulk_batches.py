"""Column batches: every engine gets the same entities, and no text is lost."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_tagger import StubTagger

from ner_edge.bulk.batches import tag_batches
from ner_edge.bulk.tables import with_columns
from ner_edge.data.formats.parquet import entities_type
from ner_edge.errors import DataError, UsageError
from ner_edge.tagger import Tagger

ADA = {"start": 0, "end": 3, "text": "Ada", "label": "PER", "score": 0.3}


class Fragile(StubTagger):
    """Reads ahead, as a model does, and fails at texts with `!`; nothing says which one it was."""

    def pipe(self, texts: Iterable[str], *, document: bool = False) -> Iterator[list[Any]]:
        ahead: list[str] = []
        for text in texts:
            if "!" in text:
                raise DataError("a word is too long")
            ahead.append(text)
            if len(ahead) == 3:
                yield from super().pipe([ahead.pop(0)])
        yield from super().pipe(ahead)


STUB: Any = StubTagger()
FRAGILE: Any = Fragile()


def columns(batches: Iterable[Any]) -> list[tuple[Any, Any]]:
    return [pair for b in batches for pair in zip(b["entities"], b["error"], strict=True)]


def test_the_other_columns_and_the_order_are_kept():
    batches = [{"id": [7, 8], "text": ["Ada", "nobody"]}, {"id": [9], "text": ["Ada"]}]
    assert list(tag_batches(STUB, batches)) == [
        {"id": [7, 8], "text": ["Ada", "nobody"], "entities": [[ADA], []], "error": [None, None]},
        {"id": [9], "text": ["Ada"], "entities": [[ADA]], "error": [None]},
    ]


VALUES = st.sampled_from(["Ada", "", "a!b", "nobody", None, 7, 1.5, float("nan"), ["Ada"], b"Ada"])


@given(st.lists(st.lists(VALUES, max_size=5), max_size=6))
def test_every_text_has_a_result_in_its_place(values):
    batches = list(tag_batches(FRAGILE, [{"text": batch} for batch in values]))
    assert [batch["text"] for batch in batches] == values
    flat = [value for batch in values for value in batch]
    for value, (entities, error) in zip(flat, columns(batches), strict=True):
        assert entities == ([ADA] if value == "Ada" else [])
        if isinstance(value, str):
            assert error == ("a word is too long" if "!" in value else None)
        else:
            assert error == (
                "is null" if value is None or value != value else f"is no string, but {name(value)}"
            )


def name(value: object) -> str:
    return type(value).__name__


def test_all_kinds_of_batches_come_back_as_they_are():
    data = {"text": ["Ada", None], "n": [1, 2]}
    found = [[ADA], []]
    errors = [None, "is null"]
    (mapping,) = tag_batches(STUB, [data])
    assert mapping == data | {"entities": found, "error": errors}
    (frame,) = tag_batches(STUB, [pd.DataFrame(data)])
    assert frame["entities"].tolist() == found
    assert frame["error"].isna().tolist() == [True, False]
    table = pyarrow.table(data)
    (arrow,) = tag_batches(STUB, [table])
    assert arrow.equals(with_columns(table, found, errors))
    assert arrow.schema.field("entities").type == entities_type()


def test_batches_are_read_as_they_are_needed():
    read = []

    def batches() -> Iterator[dict[str, list[str]]]:
        for number in range(100):
            read.append(number)
            yield {"text": ["Ada"]}

    tagged = tag_batches(STUB, batches())
    next(tagged)
    assert len(read) <= 3


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pyarrow.table])
def test_a_column_that_is_missing_or_taken_is_an_error(kind):
    with pytest.raises(UsageError, match="no column named body, only text"):
        list(tag_batches(STUB, [kind({"text": ["Ada"]})], "body"))
    with pytest.raises(UsageError, match="a column named error exists already; rename it"):
        list(tag_batches(STUB, [kind({"text": ["Ada"], "error": ["x"]})]))


def test_an_error_of_the_source_is_no_error_of_a_text():
    def batches() -> Iterator[dict[str, list[str]]]:
        yield {"text": ["Ada"]}
        raise OSError("the disk is gone")

    tagged = tag_batches(FRAGILE, batches())
    assert columns([next(tagged)]) == [([ADA], None)]
    with pytest.raises(OSError, match="the disk is gone"):
        next(tagged)


def test_a_text_that_the_model_refuses_leaves_the_others_alone(tiny, monkeypatch):
    texts = ["Ada Lovelace lived in London.", "Ada Refused Lovelace.", "Nobody. Came!", ""]
    with Tagger.load(tiny.gguf, threads=1) as tagger:
        monkeypatch.setattr(tagger._engine, "fits", lambda words: "Refused" not in words)
        found: Any = tag_batches(tagger, [{"text": texts}])
        (batch,) = found
        alone = list(tagger.pipe(texts[:1] + texts[2:]))
    assert batch["error"][1] == "the word 'Refused…' is too long for the model's context"
    assert batch["error"][:1] + batch["error"][2:] == [None] * 3
    kept: Any = batch["entities"][:1] + batch["entities"][2:]
    assert [[(e["start"], e["end"], e["label"]) for e in found] for found in kept] == [
        [(e.start, e.end, e.label) for e in found] for found in alone
    ]


def test_datasets_map_takes_it(tmp_path):
    from datasets import Dataset

    dataset = Dataset.from_dict({"text": ["Ada", "nobody"], "id": [1, 2]})

    def tag(batch: dict[str, Any]) -> dict[str, Any]:
        return dict(next(tag_batches(STUB, [dict(batch)])))

    tagged = dataset.map(tag, batched=True, batch_size=1)
    assert tagged["entities"][:] == [[ADA], []]
    assert tagged["error"][:] == [None, None]
    assert tagged["id"][:] == [1, 2]


@pytest.mark.filterwarnings("ignore")
def test_spark_map_in_pandas_takes_it(monkeypatch):
    spark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    search = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, search)))  # of its workers
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    spark = spark_sql.SparkSession.builder.master("local[1]").getOrCreate()
    schema = (
        "text string, entities array<struct<start:bigint,end:bigint,text:string,label:string,"
        "score:double>>, error string"
    )
    try:
        frame = spark.createDataFrame([("Ada",), (None,)], "text string")
        tagged = frame.mapInPandas(lambda frames: tag_batches(STUB, frames), schema)
        rows = [row.asDict(recursive=True) for row in tagged.collect()]
    finally:
        spark.stop()
    assert rows == [
        {"text": "Ada", "entities": [ADA], "error": None},
        {"text": None, "entities": [], "error": "is null"},
    ]
