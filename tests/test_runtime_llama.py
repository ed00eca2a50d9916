"""The layer over llama.cpp: its shortcuts save time and change nothing else."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TinyModel
from exporting import export_model
from tiny_models import save_model

from ner_edge.errors import UsageError
from ner_edge.gguf.file import GGUFFile
from ner_edge.runtime import head as head_module
from ner_edge.runtime import llama as llama_module
from ner_edge.runtime import word_tagger
from ner_edge.runtime.batch import Run
from ner_edge.runtime.head import OutputHead
from ner_edge.runtime.llama import PREFIX, LlamaModel
from ner_edge.runtime.prefix import read_prefix
from ner_edge.tagger import Tagger
from ner_edge.task import Task

LONG = list(range(5, 105))  # a prefix long enough to be cached
TEXTS = ["Ada lives in New York .", "a | b [ c ]", "Nothing here", "Zürich 東京 😀 and more"]


def load(path: Path, head: bool = True) -> LlamaModel:
    made = OutputHead(GGUFFile(path)) if head else None
    return LlamaModel(path, context=256, sequences=3, batch=128, threads=1, head=made)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("quant", ["f16", "q8_0"])
def test_the_head_gives_the_logits_of_llama_cpp(tmp_path: Path, tied: bool, quant: str) -> None:
    folder = save_model(
        tmp_path / "m", hidden_size=32, intermediate_size=48, tie_word_embeddings=tied
    )
    (path,) = export_model(folder, None, tmp_path, [quant])
    runs = [Run(1, 0, [7, 8, 9, 10], [1, 3]), Run(2, 0, [11, 12], [0])]
    wanted = [7, 0, 300]
    found = []
    for model in (load(path), load(path, head=False)):
        read_prefix(model, LONG[:9], tmp_path, [path])
        assert (model._head is not None) == (model._reader is not None)
        rows = model.decode(runs)
        found.append([model.logits(row, wanted) for row_of in rows for row in row_of.values()])
        model.close()
    np.testing.assert_allclose(found[0], found[1], rtol=0.02, atol=0.02)


def test_a_head_that_is_not_the_models_is_dropped(tmp_path: Path, tiny: TinyModel) -> None:
    other = save_model(
        tmp_path / "other", hidden_size=32, intermediate_size=48, tie_word_embeddings=False
    )
    (path,) = export_model(other, None, tmp_path, ["f16"])
    head = OutputHead(GGUFFile(path))
    model = LlamaModel(tiny.gguf, context=256, sequences=3, batch=128, threads=1, head=head)
    read_prefix(model, LONG[:9], tmp_path, [tiny.gguf])
    assert model._head is None
    ((row,),) = [rows.values() for rows in model.decode([Run(1, 0, [7, 8], [1])])]
    expected = model.all_logits(row)[[4, 5]]
    assert model.logits(row, [4, 5]) == expected.tolist()
    model.close()


@pytest.mark.parametrize("missing", ["name of the states", "function"])
def test_without_states_the_whole_vocabulary_is_computed(
    tmp_path: Path, tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "function":
        monkeypatch.setattr(llama_module, "nodes_can_be_read", lambda: False)
    else:
        monkeypatch.setattr(head_module, "_STATES", "no such node")
    model = load(tiny.gguf)
    read_prefix(model, LONG[:9], tmp_path, [tiny.gguf])
    assert model._head is None
    ((row,),) = [rows.values() for rows in model.decode([Run(1, 0, [7, 8], [1])])]
    assert model.logits(row, [4, 5]) == model.all_logits(row)[[4, 5]].tolist()
    model.close()


def test_an_interrupt_during_native_work_is_raised(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs have none
    model = load(tiny.gguf)
    assert model._reader
    name = model._reader.nodes._name

    def interrupted(tensor: int) -> bytes:
        signal.raise_signal(signal.SIGINT)
        return bytes(name(tensor))

    monkeypatch.setattr(model._reader.nodes, "_name", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.decode([Run(1, 0, [7], [0])])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)
    monkeypatch.setattr(model._reader.nodes, "_name", name)
    model.forget(1, 0)
    ((row,),) = [rows.values() for rows in model.decode([Run(1, 0, [7], [0])])]
    assert all(np.isfinite(model.logits(row, [1, 2])))
    model.close()


def answer_after(model: LlamaModel, prefix: int) -> list[float]:
    model.share(PREFIX, 1)
    ((row,),) = [rows.values() for rows in model.decode([Run(1, prefix, [7, 8], [1])])]
    return model.logits(row, list(range(20)))


def test_the_prefix_is_kept_and_read_back(tmp_path: Path, tiny: TinyModel) -> None:
    answers, hits = [], []
    for _ in range(2):
        model = load(tiny.gguf)
        hits.append(read_prefix(model, LONG, tmp_path, [tiny.gguf]))
        answers.append(answer_after(model, len(LONG)))
        model.close()
    assert hits == [False, True]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("damage", ["state", "json", "answer", "none left"])
def test_a_damaged_prefix_is_evaluated_anew(tmp_path: Path, tiny: TinyModel, damage: str) -> None:
    model = load(tiny.gguf)
    read_prefix(model, LONG, tmp_path, [tiny.gguf])
    expected = answer_after(model, len(LONG))
    model.close()
    (state,) = tmp_path.glob("*.state")
    sample = state.with_suffix(".json")
    if damage == "state":
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 255
        state.write_bytes(content)
    elif damage == "json":
        sample.write_text("{")
    elif damage == "answer":
        sample.write_text(sample.read_text().replace('"answer": [', '"answer": [0.5, '))
    else:
        sample.unlink()
    for expected_hit in (False, True):  # the damaged state is replaced
        model = load(tiny.gguf)
        assert read_prefix(model, LONG, tmp_path, [tiny.gguf]) is expected_hit
        assert answer_after(model, len(LONG)) == expected
        model.close()


def test_another_prefix_or_model_has_another_file(tmp_path: Path, tiny: TinyModel) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny.gguf.read_bytes())
    for path, tokens in ((tiny.gguf, LONG), (tiny.gguf, LONG[1:]), (copy, LONG)):
        model = load(path)
        assert not read_prefix(model, tokens, tmp_path, [path])
        model.close()


def test_a_prefix_longer_than_a_batch_and_a_cache_that_cannot_be_written(
    tmp_path: Path, tiny: TinyModel
) -> None:
    (tmp_path / "file").write_text("")
    tokens = LONG + LONG[:60]
    answers = []
    for folder in (tmp_path / "file" / "folder", tmp_path):
        model = load(tiny.gguf)
        assert not read_prefix(model, tokens, folder, [tiny.gguf])
        answers.append(answer_after(model, len(tokens)))
        model.close()
    assert answers[0] == answers[1]


@pytest.fixture
def tagger(tiny: TinyModel) -> Tagger:
    return Tagger.load(tiny.gguf, threads=1)


def test_with_and_without_head_the_entities_are_the_same(
    tiny: TinyModel, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tagger._model._head
    monkeypatch.setattr(word_tagger, "OutputHead", lambda file: None)
    with tagger, Tagger.load(tiny.gguf, threads=1) as whole:
        assert whole._model._head is None
        for ours, theirs in zip(tagger.pipe(TEXTS), whole.pipe(TEXTS), strict=True):
            assert [(e.start, e.end, e.label) for e in ours] == [
                (e.start, e.end, e.label) for e in theirs
            ]
            scores = [e.score for e in theirs]
            assert [e.score for e in ours] == pytest.approx(scores, rel=0.02)


def test_a_second_caller_is_served_between_the_results_of_the_first(tagger: Tagger) -> None:
    with tagger:
        expected = list(tagger.pipe(TEXTS))
        results = tagger.pipe(TEXTS)
        found = [next(results)]
        assert [e.text for e in tagger(TEXTS[0])] == [e.text for e in expected[0]]
        found += results
        assert [[e.text for e in entities] for entities in found] == [
            [e.text for e in entities] for entities in expected
        ]


def test_a_closed_tagger_says_so(tagger: Tagger) -> None:
    results = tagger.pipe(TEXTS)
    tagger.close()
    with pytest.raises(UsageError, match="closed"):
        next(results)
    with pytest.raises(UsageError, match="closed"):
        tagger("Ada")
    tagger.close()


def test_a_model_is_not_freed_while_a_thread_tokenizes(tiny: TinyModel) -> None:
    program = """
import sys, threading, time
from pathlib import Path
from ner_edge.errors import UsageError
from ner_edge.runtime.llama import LlamaModel

def tokenize(model):
    try:
        while True:
            model.tokenize("a b c,d " * 100_000)
    except UsageError:
        pass

for number in range(5):
    model = LlamaModel(Path(sys.argv[1]), context=512, sequences=2, threads=1)
    threads = [threading.Thread(target=tokenize, args=[model]) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.02 + 0.03 * number)
    model.close()
    for thread in threads:
        thread.join()
"""
    command = [sys.executable, "-c", program, str(tiny.gguf)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_min_score_leaves_out_what_is_less_certain(tagger: Tagger) -> None:
    with tagger:
        everything = [entity for entities in tagger.pipe(TEXTS) for entity in entities]
        limit = sorted(entity.score for entity in everything)[len(everything) // 2]
        tagger.min_score = limit
        kept = [entity for entities in tagger.pipe(TEXTS) for entity in entities]
    assert kept == [entity for entity in everything if entity.score >= limit]
    assert 0 < len(kept) < len(everything)


def test_a_task_of_many_words_is_read_from_disk_the_second_time(
    tmp_path: Path, tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    task = Task("long", {"PER": "person"}, "Find the entities of this sentence. " * 12)
    (path,) = export_model(tiny.folder, None, tmp_path, ["f16"], task=task)
    found = []
    for _ in range(2):
        with Tagger.load(path, threads=1) as tagger:
            found.append(list(tagger.pipe(TEXTS)))
    assert found[0] == found[1]
    assert len(list((tmp_path / "cache" / "instructions").glob("*.state"))) == 1


def test_the_package_offers_the_tagger() -> None:
    import ner_edge

    assert ner_edge.Tagger is Tagger
    assert not hasattr(ner_edge, "tagger_of_tomorrow")
