"""`Evaluator`: what is counted, compared, noted, and resumed after a kill."""

import gc
import weakref
from functools import partial

import numpy as np
import pytest
from gguf import GGUFWriter

from ner_edge.errors import DataError, ModelError, UsageError
from ner_edge.eval.candidate import Candidate
from ner_edge.eval.evaluator import Evaluator
from ner_edge.eval.gold import read_gold
from ner_edge.spans import ScoredSpan
from ner_edge.task import Task

CORPUS = """\
-DOCSTART- -X- -X- O

Mina NNP I-NP I-PER
Okafor NNP I-NP I-PER
left VBD I-VP O
Lisbon NNP I-NP I-LOC

Rain NN I-NP O
fell VBD I-VP O

-DOCSTART- -X- -X- O

Brightwater NNP I-NP I-ORG
hired VBD I-VP O
Mina NNP I-NP I-PER
"""
RIGHT = {"Mina Okafor": "PER", "Lisbon": "LOC", "Brightwater": "ORG", "Mina": "PER"}
TASK = Task("test", dict.fromkeys(("PER", "LOC", "ORG"), "…"), "Find the names.")


class Killed(BaseException):
    """What a signal does to a run; no `except Exception` may swallow it."""


class StubTagger:
    """Finds the phrases it knows, longest first."""

    decoder = "stub"
    version = "1"
    hardware = "1 thread"

    def __init__(self, known=RIGHT, task=TASK, dies_after=None, misaligned_words=()):
        self.known, self.task = known, task
        self.dies_after, self.misaligned_words = dies_after, misaligned_words
        self.output = None
        self.seen = []
        self.closed = False

    def tag_words(self, sentences):
        for words in sentences:
            if len(self.seen) == self.dies_after:
                raise Killed
            if words:  # not between documents
                self.seen.append(words)
            if self.misaligned_words:
                self.output = " ".join(w for w in words if w not in self.misaligned_words)
            yield self._find(words)

    def _find(self, words):
        spans, start = [], 0
        while start < len(words):
            for end in range(len(words), start, -1):
                label = self.known.get(" ".join(words[start:end]))
                if label:
                    spans.append(ScoredSpan(start, end, label, 0.9))
                    start = end - 1
                    break
            start += 1
        return spans

    def close(self):
        self.closed = True


def evaluate(data, models, *, load_tagger, baseline=None, limit=None, is_gguf=False, **settings):
    """The comparison of models, given as (name, path), on the sentences in `data`."""
    candidates = [
        Candidate(name, path, partial(load_tagger, path), is_gguf=is_gguf) for name, path in models
    ]
    evaluator = Evaluator(measure_cost=False, **settings)
    return evaluator.compare(candidates, read_gold(data, limit), baseline)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "corpus.conll"
    path.write_text(CORPUS, encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path):
    def make(name, content=None):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content or name.encode())
        return path

    return make


def test_gold_is_counted_with_and_without_docstart_lines(data):
    gold = read_gold(data)
    assert (len(gold.sentences), gold.docstart_lines, gold.tokens, gold.entities) == (3, 2, 9, 4)
    assert gold.describe() == "3 sentences, 9 tokens (5 and 11 with -DOCSTART- lines), 4 entities"


def test_a_limit_counts_sentences_and_keeps_their_docstart_lines(data):
    gold = read_gold(data, limit=1)
    assert gold.describe() == "1 sentence, 4 tokens (2 and 5 with -DOCSTART- lines), 2 entities"
    assert read_gold(data, limit=99) == read_gold(data)
    with pytest.raises(UsageError, match="--limit 0: must be at least 1"):
        read_gold(data, limit=0)


def test_large_counts_are_grouped(tmp_path):
    path = tmp_path / "long.conll"
    path.write_text("a O\n\n" * 1234)
    assert read_gold(path).describe() == "1 234 sentences, 1 234 tokens, 0 entities"


def test_one_model_has_scores_and_no_baseline(data, model):
    comparison = evaluate(data, [("q4", model("q4"))], load_tagger=lambda path: StubTagger())
    (result,) = comparison.results
    assert result.f1 == pytest.approx(100)
    assert (result.size_bytes, result.bits_per_weight, result.decoder) == (2, None, "stub")
    assert result.misaligned == 0
    assert result.sentences_per_second == pytest.approx(3 / result.seconds)
    assert (comparison.baseline, comparison.differences, comparison.notes) == (None, {}, [])


def test_bits_per_weight_are_those_of_the_file(data, tmp_path):
    path = tmp_path / "half.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("half", np.zeros((64, 32), dtype=np.float16))
    writer.add_tensor("full", np.zeros((64, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    comparison = evaluate(
        data, [("half", path)], load_tagger=lambda path: StubTagger(), is_gguf=True
    )
    assert comparison.results[0].bits_per_weight == 24
    assert comparison.results[0].size_bytes == path.stat().st_size


def test_models_are_compared_with_the_baseline_on_the_same_sentences(data, model):
    known = {"full": RIGHT, "small": RIGHT | {"Lisbon": "ORG", "Rain": "LOC"}}
    models = [("small", model("small")), ("full", model("full"))]
    comparison = evaluate(
        data, models, baseline="full", load_tagger=lambda path: StubTagger(known[path.name])
    )
    assert comparison.baseline == "full"
    small, full = comparison.results
    assert full.f1 == pytest.approx(100)
    assert small.f1 == pytest.approx(200 * 3 / 9)  # three of five found, three of four
    difference = comparison.differences["small"]
    assert difference.delta_f1 == pytest.approx(small.f1 - full.f1)
    assert difference.ci_low <= difference.delta_f1 <= difference.ci_high <= 0
    assert difference.flips == 2
    itself = comparison.differences["full"]
    assert (itself.delta_f1, itself.ci_low, itself.ci_high, itself.flips) == (0, 0, 0, 0)


def test_the_first_model_is_the_baseline_unless_told(data, model):
    models = [("a", model("a")), ("b", model("b"))]

    def baseline(name):
        return evaluate(data, models, baseline=name, load_tagger=lambda path: StubTagger()).baseline

    assert baseline(None) == "a"
    assert baseline(str(models[1][1])) == "b"


def test_models_of_one_name_are_told_apart(data, model):
    models = [("q4", model("old/q4")), ("q4", model("new/q4")), ("q4-2", model("q4-2"))]
    comparison = evaluate(data, models, load_tagger=lambda path: StubTagger())
    assert [result.name for result in comparison.results] == ["q4", "q4-2", "q4-2-2"]
    assert [result.path for result in comparison.results] == [path for _, path in models]


def test_only_one_model_is_loaded_at_a_time(data, model):
    alive: list[weakref.ref[StubTagger]] = []

    def load(path):
        gc.collect()
        assert not any(tagger() for tagger in alive)
        tagger = StubTagger()
        alive.append(weakref.ref(tagger))
        return tagger

    evaluate(data, [(name, model(name)) for name in "abc"], load_tagger=load)
    assert len(alive) == 3


def test_a_model_is_closed_even_when_it_fails(data, model):
    tagger = StubTagger(dies_after=1)
    with pytest.raises(Killed):
        evaluate(data, [("q4", model("q4"))], load_tagger=lambda path: tagger)
    assert tagger.closed


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"models": []}, UsageError, "at least one model"),
        ({"models": ["here", "gone"]}, ModelError, r"no such model: .*gone"),
        (
            {"models": ["here"], "baseline": "bf16"},
            UsageError,
            "--baseline bf16: no such model; choose one of: here",
        ),
        ({"models": ["here"], "limit": 0}, UsageError, "limit"),
        ({"models": ["here"], "data": "no.conll"}, DataError, "no.conll"),
    ],
)
def test_mistakes_are_reported_before_a_model_is_loaded(
    data, model, tmp_path, arguments, error, message
):
    model("here")
    arguments["models"] = [(name, tmp_path / name) for name in arguments["models"]]
    if "data" in arguments:
        arguments["data"] = tmp_path / arguments["data"]

    def load(path):
        pytest.fail("loaded")

    with pytest.raises(error, match=message):
        evaluate(**{"data": data, "load_tagger": load} | arguments)


def test_a_gold_label_that_the_task_does_not_know_is_noted(data, model):
    task = Task("few", {"PER": "…"}, "Find people.")
    comparison = evaluate(
        data, [("q4", model("q4"))], load_tagger=lambda path: StubTagger({}, task)
    )
    (note,) = comparison.notes
    assert f"q4: {data} has entities labelled LOC, ORG, which the model's task does not" in note
    assert comparison.results[0].metrics.micro.support == 4


def test_misaligned_outputs_are_counted_and_noted(data, model):
    comparison = evaluate(
        data,
        [("free", model("free"))],
        load_tagger=lambda path: StubTagger(misaligned_words=("Mina",)),
    )
    assert comparison.results[0].misaligned == 2
    assert comparison.notes[0].startswith("free: 2 of 3 outputs are malformed")


def test_a_tagger_that_loses_a_sentence_is_an_error(data, model):
    class Loses(StubTagger):
        def tag_words(self, sentences):
            yield from list(super().tag_words(sentences))[:-1]

    with pytest.raises(ModelError, match="2 answers to 3 sentences"):
        evaluate(data, [("q4", model("q4"))], load_tagger=lambda path: Loses())


def test_progress_is_told_after_every_sentence(data, model):
    calls = []
    evaluate(
        data,
        [("q4", model("q4"))],
        load_tagger=lambda path: StubTagger(),
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("q4", 1, 3), ("q4", 2, 3), ("q4", 3, 3)]


def test_documents_are_tagged_whole(tmp_path, model, monkeypatch):
    monkeypatch.setattr("ner_edge.eval.predict.BLOCK", 2)
    path = tmp_path / "documents.conll"
    documents = [["a", "b", "c"], ["d"], ["e", "f", "g"], ["h"]]
    path.write_text(
        "".join(
            "-DOCSTART- O\n\n" + "".join(f"{word} O\n\n" for word in words) for words in documents
        )
    )
    blocks = []

    class Recording(StubTagger):
        def tag_words(self, sentences):
            blocks.append(["".join(words) or "-" for words in sentences])
            return super().tag_words(sentences)

    evaluate(path, [("q4", model("q4"))], load_tagger=lambda path: Recording())
    assert blocks == [["a", "b", "c"], ["d", "-", "e", "f", "g"], ["h"]]


@pytest.fixture
def single_blocks(monkeypatch):
    monkeypatch.setattr("ner_edge.eval.predict.BLOCK", 1)


@pytest.mark.usefixtures("single_blocks")
def test_a_killed_run_resumes_and_ends_like_an_unbroken_one(data, model, tmp_path, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("ner_edge.eval.predict.perf_counter", lambda: next(clock))
    known = {"full": RIGHT, "small": {"Mina": "PER", "Lisbon": "ORG"}}
    models = [("full", model("full")), ("small", model("small"))]
    taggers = []

    def run(cache_dir, dies_after):
        def load(path):
            taggers.append(
                StubTagger(
                    known[path.name],
                    dies_after=dies_after.get(path.name),
                    misaligned_words=("Mina",),
                )
            )
            return taggers[-1]

        return evaluate(data, models, load_tagger=load, cache_dir=cache_dir)

    unbroken = run(tmp_path / "one", {})
    with pytest.raises(Killed):
        run(tmp_path / "two", {"full": 1})
    with pytest.raises(Killed):
        run(tmp_path / "two", {"small": 2})
    taggers.clear()
    resumed = run(tmp_path / "two", {})

    assert [len(tagger.seen) for tagger in taggers] == [0, 1]  # nothing is decoded twice
    assert resumed.differences == unbroken.differences
    for after, before in zip(resumed.results, unbroken.results, strict=True):
        assert after.predictions == before.predictions
        assert after.metrics == before.metrics
        assert after.misaligned == before.misaligned == 2
        assert after.seconds == before.seconds == 3  # one tick of the clock per sentence
        assert after.sentences_per_second == before.sentences_per_second == 1
    assert "full: 3 of 3 predictions and their timing are from an earlier run" in resumed.notes[0]


@pytest.mark.usefixtures("single_blocks")
def test_a_longer_run_continues_a_limited_one(data, model, tmp_path):
    taggers = []

    def run(limit):
        def load(path):
            taggers.append(StubTagger())
            return taggers[-1]

        models = [("q4", model("q4"))]
        return evaluate(data, models, load_tagger=load, limit=limit, cache_dir=tmp_path / "cache")

    assert len(run(2).results[0].predictions) == 2
    assert run(None).results[0].f1 == pytest.approx(100)
    assert len(run(1).results[0].predictions) == 1
    assert [len(tagger.seen) for tagger in taggers] == [2, 1, 0]


@pytest.mark.parametrize("changed", ["model", "data", "decoder", "version", "task"])
def test_nothing_is_reused_after_a_change(data, model, tmp_path, changed):
    def run(tagger):
        evaluate(
            data,
            [("q4", tmp_path / "q4")],
            load_tagger=lambda path: tagger,
            cache_dir=tmp_path / "cache",
        )
        return len(tagger.seen)

    model("q4")
    assert run(StubTagger()) == 3
    assert run(StubTagger()) == 0
    tagger = StubTagger()
    if changed == "model":
        model("q4", b"requantized")
    elif changed == "data":
        data.write_text(CORPUS.replace("fell", "falls"))
    elif changed in ("decoder", "version"):
        setattr(tagger, changed, "other")
    else:
        tagger.task = Task("test", TASK.labels, "Find the names, please.")
    assert run(tagger) == 3


@pytest.mark.usefixtures("single_blocks")
def test_a_speed_is_that_of_the_hardware_in_use(data, model, tmp_path):
    def run(hardware, limit=None):
        tagger = StubTagger()
        tagger.hardware = hardware
        comparison = evaluate(
            data,
            [("q4", model("q4"))],
            load_tagger=lambda path: tagger,
            limit=limit,
            cache_dir=tmp_path / "cache",
        )
        (result,) = comparison.results
        assert result.hardware == hardware
        assert result.f1 == pytest.approx(100)
        return len(tagger.seen), result.sentences_per_second is not None, comparison.notes

    assert run("2 threads", limit=2) == (2, True, [])
    decoded, is_known, (note,) = run("1 thread")
    assert (decoded, is_known) == (1, False)
    assert note.startswith("q4: 2 of 3 predictions are from an earlier run on other hardware")
    decoded, is_known, (note,) = run("2 threads", limit=2)
    assert (decoded, is_known) == (0, True)
    assert "and their timing are from an earlier run" in note


@pytest.mark.parametrize("changed", [(), ("Mina", "fell")])
def test_a_cache_holds_no_text_of_the_corpus(data, model, tmp_path, changed):
    folder = tmp_path / "cache"
    evaluate(
        data,
        [("q4", model("q4"))],
        load_tagger=lambda path: StubTagger(misaligned_words=changed),
        cache_dir=folder,
    )
    (file,) = folder.iterdir()
    kept = file.read_text()
    assert not [word for word in CORPUS.split() if len(word) > 2 and f'"{word}"' in kept]
