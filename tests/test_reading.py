"""Models that read both ways: their word head, in the file and at work."""

import json
import random
import shutil

import numpy as np
import pytest
from command_line import assert_error, run
from exporting import export_model
from gguf import GGUFValueType
from safetensors.numpy import save_file
from test_gguf_model import REMOVED, rewrite
from tiny_models import save_adapter

from ner_edge.calibration import CALIBRATION_FILE, Calibration
from ner_edge.errors import ModelError, UsageError
from ner_edge.eval.fit import Read, auto_result
from ner_edge.eval.torch_tagger import TorchTagger
from ner_edge.export.verify.parity import check_parity
from ner_edge.export.verify.verify import Verification
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime import llama, word_tagger
from ner_edge.spans import Span
from ner_edge.tagger import Tagger
from ner_edge.tags import tag_set

TEXTS = [
    "Ada Lovelace lived in London with Charles Babbage .",
    "New York",
    "| Kim | sings [ in ] Oslo on 12 May 2026 |",
    "The European Commission said on Thursday it disagreed with German advice .",
    "naïve Zürich façade",
    "Hussain , considered surplus to England 's one-day requirements",
]
SENTENCES = [text.split() for text in TEXTS]


def save_head(folder, labels, depths, width, seed=3):
    """A random word head that finds entities, beside an adapter."""
    random = np.random.default_rng(seed)
    tags = len(tag_set(labels))
    tensors = {}
    for depth in depths:
        weight = random.normal(0, 0.4, (tags, width))
        tensors[f"layers.{depth}.weight"] = weight.astype(np.float32)
        tensors[f"layers.{depth}.bias"] = random.normal(0, 0.5, tags).astype(np.float32)
    save_file(tensors, folder / HEAD_FILE, metadata={"labels": json.dumps(labels)})
    return tensors


@pytest.fixture(scope="module")
def both(tiny, tmp_path_factory):
    """The folder of an adapter with a word head after the first and the last layer."""
    folder = save_adapter(tmp_path_factory.mktemp("both") / "adapter", tiny.folder)
    tiny.task.save(folder)
    save_head(folder, list(tiny.task.labels), [1, 2], 32)
    return folder


@pytest.fixture(scope="module")
def model(tiny, both, tmp_path_factory):
    (path,) = export_model(tiny.folder, both, tmp_path_factory.mktemp("model"), ["f16"])
    return path


def with_calibration(model, path, **values):
    texts = {
        f"ner_edge.{name}": (str(value), GGUFValueType.STRING) for name, value in values.items()
    }
    return rewrite(model, path, texts)


def tag(path, sentences=SENTENCES, **settings):
    with Tagger.load(path, threads=1, **settings) as loaded:
        return list(loaded.tag_words(sentences))


def bare(results):
    return [[span[:3] for span in spans] for spans in results]


def assert_close(ours, theirs):
    assert bare(ours) == bare(theirs)
    scores = [[span.score for spans in results for span in spans] for results in (ours, theirs)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def test_an_export_takes_the_head_in(model, tiny, both):
    metadata = describe(model)
    head = metadata.word_head
    assert metadata.reading == "both"
    assert head.labels == tuple(tiny.task.labels)
    assert sorted(head.layers) == [1, 2]
    saved = save_head(both, list(tiny.task.labels), [1, 2], 32)
    for depth, layer in head.layers.items():
        assert np.array_equal(layer.weight, saved[f"layers.{depth}.weight"])
        assert np.array_equal(layer.bias, saved[f"layers.{depth}.bias"])
    assert "word head" in dict(metadata.rows())
    assert describe(tiny.gguf).reading == "causal"


def test_a_quantized_file_and_a_base_made_of_it_keep_the_reading(tiny, both, tmp_path):
    Calibration(1.5, 2.0, 0.9).save(both)
    (path,) = export_model(tiny.folder, both, tmp_path, ["f16"])
    (both / CALIBRATION_FILE).unlink()
    (again,) = export_model(path, None, tmp_path, ["q8_0"], name="again")
    first, second = describe(path), describe(again)
    assert first.calibration == second.calibration == Calibration(1.5, 2.0, 0.9)
    for depth, layer in first.word_head.layers.items():
        assert np.array_equal(layer.weight, second.word_head.layers[depth].weight)
    (other,) = export_model(path, both, tmp_path, ["q8_0"], name="other")
    assert describe(other).calibration == Calibration(), "it was fitted to other weights"


def test_auto_is_the_default_and_writes_all_unless_a_threshold_was_fitted(model):
    with Tagger.load(model, threads=1) as loaded:
        assert loaded.decoder == "auto"
        auto = list(loaded.tag_words(SENTENCES))
        loaded.write_all()
        assert list(loaded.tag_words(SENTENCES)) == auto
    # What was read counts, too.
    assert bare(auto) != bare(tag(model, decoder="copy"))
    assert bare(auto) != bare(tag(model, decoder="read"))
    assert any(auto)


def test_the_grammar_decoder_reads_both_ways_too(model, tiny, monkeypatch):
    read, written = [], []
    with Tagger.load(model, threads=1, decoder="grammar") as loaded:
        prompts = PromptTokenizer(tiny.task.prefix, tiny.task.suffix, loaded._model.tokenize)
        both_ways, causally = loaded._model.read, loaded._model.decode

        def reads(runs):
            read.append(runs)
            return both_ways(runs)

        def decodes(runs):
            written.append(runs)
            return causally(runs)

        monkeypatch.setattr(loaded._model, "read", reads)
        monkeypatch.setattr(loaded._model, "decode", decodes)
        list(loaded.tag_words([["Ada", "lives"]]))
        (((sentence,),), ((suffix,), *_)) = read, written
        assert [*sentence.tokens, *suffix.tokens] == prompts.prompt(["Ada", "lives"])
        assert suffix.tokens == prompts.suffix


def test_auto_writes_up_to_the_last_word_in_doubt(model, tmp_path):
    with Tagger.load(model, threads=1) as loaded:
        loaded.write_all()
        written = list(loaded.tag_and_read(SENTENCES))
    least = sorted(min(decoded.reading.words) for decoded in written)
    threshold = sum(least[2:4]) / 2
    path = with_calibration(model, tmp_path / "auto.gguf", threshold=threshold)
    expected = [
        auto_result(Read(set(), [Span(*span[:3]) for span in spans], reading), threshold)
        for spans, reading in written
    ]
    assert bare(tag(path)) == expected
    assert expected != bare(decoded.spans for decoded in written)
    assert expected != bare(decoded.reading.spans for decoded in written)


def test_a_reading_does_not_depend_on_its_batch_or_its_place(model):
    sentences = SENTENCES * 7
    random.Random(5).shuffle(sentences)
    apart = [part for words in sentences for part in (words, [])]
    together = tag(model, apart, decoder="read")[::2]
    alone = [tag(model, [words], decoder="read")[0] for words in SENTENCES]
    assert any(alone)
    assert_close(together, [alone[SENTENCES.index(words)] for words in sentences])


def test_each_route_has_a_temperature(model, tmp_path):
    raw = {decoder: tag(model, decoder=decoder) for decoder in ("read", "copy")}
    path = with_calibration(
        model, tmp_path / "cool.gguf", temperature=3.0, read_temperature=2.0, threshold=0.5
    )
    for decoder, temperature in (("read", 2.0), ("copy", 3.0)):
        cooled = tag(path, decoder=decoder)
        expected = [
            [span._replace(score=tagger_scaled(span.score, temperature)) for span in spans]
            for spans in raw[decoder]
        ]
        assert_close(cooled, expected)


def tagger_scaled(score, temperature):
    odds = (score / (1 - score)) ** (1 / temperature)
    return odds / (1 + odds)


def test_fewer_layers_give_the_tags_of_their_own_head(model):
    shallow = tag(model, decoder="read", depth=1)
    assert bare(shallow) != bare(tag(model, decoder="read"))
    assert bare(tag(model, decoder="read", depth=2)) == bare(tag(model, decoder="read"))


def test_states_come_as_embeddings_where_the_graph_cannot_be_read(model, monkeypatch):
    expected = {d: tag(model, decoder=d) for d in ("read", "auto", "grammar")}
    monkeypatch.setattr(llama, "nodes_can_be_read", lambda: False)
    monkeypatch.setattr(word_tagger, "nodes_can_be_read", lambda: False)
    for decoder, results in expected.items():
        assert_close(tag(model, decoder=decoder), results)
    with pytest.raises(UsageError, match="does not expose"):
        Tagger.load(model, decoder="read", depth=1)


def test_a_long_sentence_is_read_in_parts(model):
    words = ["Ada", "lives", "in", "London", "."] * 200
    with pytest.warns(match="too long"):
        (spans,) = tag(model, [words], decoder="read")
    assert spans
    assert spans[-1].end > 900


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "copy", "depth": 1}, "--depth needs --decoder read"),
        ({"depth": 1}, "--depth needs --decoder read"),
        ({"decoder": "read", "depth": 3}, "no word head after 3 layers, only after 1, 2"),
    ],
)
def test_a_depth_without_a_head_is_refused(model, settings, message):
    with pytest.raises(UsageError, match=message):
        Tagger.load(model, **settings)


@pytest.mark.parametrize(
    "arguments", [["--decoder", "read"], ["--decoder", "auto"], ["--depth", "1"]]
)
def test_a_causal_model_has_no_word_head(tiny, tmp_path, arguments):
    text = tmp_path / "text.txt"
    text.write_text("Ada\n")
    result = run("tag", str(text), "-m", str(tiny.gguf), *arguments)
    assert_error(result, "needs a model with a word head, trained with --reading both", 2)


def broken(key, value):
    return lambda model, path: rewrite(model, path, {f"ner_edge.word_head.{key}": value})


FLOATS, INTS, INT = GGUFValueType.FLOAT32, GGUFValueType.INT32, GGUFValueType.INT32


@pytest.mark.parametrize(
    ("key", "items", "kind", "message"),
    [
        ("depths", [1, 3], INTS, "has 2 layers"),
        ("depths", [1], INTS, "has 2 layers"),
        ("depths", [0, 2], INTS, "has 2 layers"),
        ("1.weight", [0.0], FLOATS, "not an array of 160 numbers"),
        ("2.bias", [0] * 5, INTS, "not an array of 5 numbers"),
        ("2.bias", [0.0] * 4 + [float("nan")], FLOATS, "NaN"),
    ],
)
def test_a_damaged_head_is_refused(model, tmp_path, key, items, kind, message):
    value = (items, GGUFValueType.ARRAY, kind)
    path = rewrite(model, tmp_path / "broken.gguf", {f"ner_edge.word_head.{key}": value})
    with pytest.raises(ModelError, match=message):
        describe(path)


def test_a_length_of_passages_below_zero_is_refused(model, tmp_path):
    path = rewrite(model, tmp_path / "x.gguf", {"ner_edge.word_head.passage": (-1, INT)})
    with pytest.raises(ModelError, match="passage is -1"):
        describe(path)


def test_a_head_without_its_weights_is_refused(model, tmp_path):
    path = rewrite(model, tmp_path / "x.gguf", {"ner_edge.word_head.1.bias": REMOVED})
    with pytest.raises(ModelError, match=r"1\.bias"):
        describe(path)


def test_a_head_for_another_task_or_base_is_refused(tiny, tmp_path):
    folder = save_adapter(tmp_path / "adapter", tiny.folder)
    tiny.task.save(folder)
    save_head(folder, ["ORG", "PER"], [2], 32)
    with pytest.raises(ModelError, match="its word head tags ORG, PER, but"):
        export_model(tiny.folder, folder, tmp_path, ["f16"])
    save_head(folder, list(tiny.task.labels), [3], 32)
    with pytest.raises(ModelError, match=r"for 3 layers of width 32, but .* has 2 of width 32"):
        export_model(tiny.folder, folder, tmp_path, ["f16"])


def test_manifest_card_and_verify_say_how_it_reads(tiny, both, tmp_path):
    Calibration(1.5, 2.0, 0.9).save(both)
    (path,) = export_model(tiny.folder, both, tmp_path, ["f16"], card=True)
    (both / CALIBRATION_FILE).unlink()
    assert json.loads(path.with_suffix(".json").read_text())["reading"] == "both"
    assert "both directions" in (tmp_path / "adapter.md").read_text()
    checks = {check.name: check for check in Verification(path, threads=1)}
    assert checks["reading"].detail == (
        "both ways, word head after layers 1, 2; words are in doubt up to 0.9"
    )


def parity(model, tiny, both):
    checks = check_parity(model, tiny.folder, both, threads=1)
    return {check.name: check for check in checks}


def test_the_tags_are_those_of_torch(model, tiny, both, tmp_path):
    check = parity(model, tiny, both)["tags"]
    assert check.ok, check
    assert "after layers 1, 2" in check.detail
    weight = GGUFFile(model).float32("blk.0.ffn_down.weight")
    path = rewrite(model, tmp_path / "x.gguf", tensors={"blk.0.ffn_down.weight": -weight})
    assert parity(path, tiny, both)["tags"].ok is False


def test_stock_tools_load_the_file(model):
    import llama_cpp

    stock = llama_cpp.Llama(str(model), n_ctx=256, verbose=False)
    try:
        answer = stock.create_completion("Ada\n", max_tokens=2, temperature=0.0)
        assert isinstance(answer, dict)
        assert answer["usage"]["completion_tokens"] > 0
    finally:
        stock.close()


def test_the_imatrix_is_collected_and_recipes_are_found_as_the_model_reads(tiny, both, tmp_path):
    from ner_edge.export.quantize.collect_imatrix import ImatrixData
    from ner_edge.spans import Span

    answers = [(words, [Span(0, 1, "PER")]) for words in SENTENCES]
    data = ImatrixData(answers, "mine")
    paths = export_model(
        tiny.folder, both, tmp_path, ["f16"], imatrix=data, max_losses=[50.0], threads=1
    )
    assert all(describe(path).reading == "both" for path in paths)
    assert GGUFFile(tmp_path / "adapter-imatrix.gguf").tensors


def test_the_torch_baseline_reads_as_its_adapter_does(tiny, both, tmp_path):
    causal = shutil.copytree(both, tmp_path / "causal", ignore=lambda *_: [HEAD_FILE])
    outputs = []
    for folder in (both, causal):
        baseline = TorchTagger(tiny.folder, folder, tiny.task, threads=1)
        outputs.append([baseline.output for _ in baseline.tag_words(SENTENCES)])
        assert ("read both ways" in baseline.decoder) == (folder == both)
    assert outputs[0] != outputs[1]
