"""A GGUF that contradicts itself is refused before llama.cpp loads it and ends the process."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import assert_error, run
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter

from ner_edge.errors import ModelError
from ner_edge.gguf.check import check_model
from ner_edge.gguf.file import GGUFFile
from ner_edge.runtime import trial
from ner_edge.runtime.trial import ensure_loadable

REMOVED = object()


def rewrite(source, target, values=None, tensors=None):
    """Copy a GGUF with other metadata, as (value, type[, type of items]), and other tensors."""
    file = GGUFFile(source)
    writer = GGUFWriter(target, file.get("general.architecture"))
    copied = {key: (v.value, v.type, v.sub_type) for key, v in file.metadata().items()}
    for key, value in (copied | (values or {})).items():
        if value is not REMOVED and key != "general.architecture":
            writer.add_key_value(key, *value)
    arrays = {name: file.float32(name) for name in file.tensors}
    for name, array in (arrays | (tensors or {})).items():
        if array is not REMOVED:
            raw_dtype = None
            if array.dtype == np.uint8:
                raw_dtype = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, array, raw_dtype=raw_dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def number(value):
    return value, GGUFValueType.UINT32


def text(value):
    return value, GGUFValueType.STRING


def fraction(value):
    return value, GGUFValueType.FLOAT32


@pytest.fixture(scope="module")
def tokens(tiny):
    return GGUFFile(tiny.gguf).items("tokenizer.ggml.tokens")


def array(items, kind):
    return items, GGUFValueType.ARRAY, kind


CONTRADICTIONS = {
    "no layer": ({"llama.block_count": number(0)}, "settings are impossible: 0 layers"),
    "a thousand layers": (
        {"llama.block_count": number(1000)},
        "1000 layers; 1 to 512",
    ),
    "a layer too many": ({"llama.block_count": number(3)}, r"weights lack blk\.2\.attn_q\.weight"),
    "experts": ({"llama.expert_count": number(8)}, "expert_count is 8; only dense models"),
    "experts used": ({"llama.expert_used_count": number(2)}, "expert_used_count is 2"),
    "heads that do not share": (
        {"llama.attention.head_count_kv": number(3)},
        "multiple of 3 key-value",
    ),
    "no head": ({"llama.attention.head_count": number(0)}, "heads 0"),
    "wider heads": ({"llama.attention.key_length": number(64)}, "but heads are 64 wide"),
    "half a rotation": ({"llama.rope.dimension_count": number(4)}, "but heads are 8 wide"),
    "a wide embedding": ({"llama.embedding_length": number(64)}, "but heads are|contradict"),
    "no context": ({"llama.context_length": number(0)}, "context_length is 0"),
    "text for a number": ({"llama.block_count": text("2")}, "block_count is not a whole number"),
    "no norm's epsilon": ({"llama.attention.layer_norm_rms_epsilon": REMOVED}, "epsilon is None"),
    "epsilon nan": (
        {"llama.attention.layer_norm_rms_epsilon": fraction(float("nan"))},
        "epsilon is nan",
    ),
    "text for rotation": ({"llama.rope.freq_base": text("1e4")}, "freq_base is 1e4"),
    "rotation": ({"llama.rope.freq_base": fraction(0.0)}, r"freq_base is 0\.0"),
    "a part of a model": ({"split.count": number(2)}, "one part of a split model"),
    "no model": ({"general.type": text("adapter")}, "type 'adapter', not a model"),
    "unknown tokenizer": ({"tokenizer.ggml.model": text("bert")}, "its tokenizer is 'bert'"),
    "another tokenizer": ({"tokenizer.ggml.model": text("llama")}, "its tokens have no scores"),
    "no merges": ({"tokenizer.ggml.merges": REMOVED}, "its merges are missing"),
    "a token's id": (
        {"tokenizer.ggml.eos_token_id": number(10**6)},
        "eos_token_id is 1000000",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused(name, tiny, tmp_path):
    values, message = CONTRADICTIONS[name]
    with pytest.raises(ModelError, match=message):
        check_model(GGUFFile(rewrite(tiny.gguf, tmp_path / "a.gguf", values)))


def test_a_copy_is_none(tiny, tmp_path):
    copied = check_model(GGUFFile(rewrite(tiny.gguf, tmp_path / "a.gguf")))
    assert copied.layers == 2
    assert copied.vocabulary == len(GGUFFile(tiny.gguf).items("tokenizer.ggml.tokens"))


def test_a_vocabulary_must_fit_itself(tiny, tokens, tmp_path):
    def check(values):
        check_model(GGUFFile(rewrite(tiny.gguf, tmp_path / "a.gguf", values)))

    twice = [tokens[7], *tokens[1:]]
    with pytest.raises(ModelError, match=r"vocabulary contains .* twice"):
        check({"tokenizer.ggml.tokens": array(twice, GGUFValueType.STRING)})
    with pytest.raises(ModelError, match=r"token_embd\.weight is"):
        check({"tokenizer.ggml.tokens": array(tokens[:-1], GGUFValueType.STRING)})
    with pytest.raises(ModelError, match="token_type has 3 items for"):
        check({"tokenizer.ggml.token_type": array([1, 1, 1], GGUFValueType.INT32)})
    with pytest.raises(ModelError, match="token_type is not an array of int32"):
        check({"tokenizer.ggml.token_type": array([1.0] * len(tokens), GGUFValueType.FLOAT32)})


def test_tensors_must_be_those_of_the_model(tiny, tmp_path):
    def check(tensors):
        check_model(GGUFFile(rewrite(tiny.gguf, tmp_path / "a.gguf", tensors=tensors)))

    with pytest.raises(ModelError, match=r"attn_norm\.weight has type Q8_0, not F32"):
        check({"blk.0.attn_norm.weight": np.zeros(34, np.uint8)})
    with pytest.raises(ModelError, match=r"not llama tensors: blk\.0\.attn_gate\.weight"):
        check({"blk.0.attn_gate.weight": np.zeros((4, 32), np.float32)})
    with pytest.raises(ModelError, match=r"ffn_up\.weight is \(4, 32\), not \(48, 32\)"):
        check({"blk.1.ffn_up.weight": np.zeros((4, 32), np.float32)})
    with pytest.raises(ModelError, match=r"ffn_up\.weight is \(1, 48, 32\), not"):
        check({"blk.1.ffn_up.weight": np.zeros((1, 48, 32), np.float32)})


# The trial


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "loadable"


def end_with(monkeypatch, code, stderr, stdout=b"trial of a model\n"):
    """Make the child process end in this way."""
    asked = []

    def end(*arguments, **settings):
        asked.append(arguments)
        return SimpleNamespace(returncode=code, stderr=stderr, stdout=stdout)

    monkeypatch.setattr(subprocess, "run", end)
    return asked


def load_by(monkeypatch, statement):
    """Make the child process run this statement in place of loading the model."""
    run_child = subprocess.run
    program = f"""
import sys, time
from ner_edge.runtime import trial

def run(path):
    {statement}

trial._run = run
trial._main(*sys.argv[1:])
"""

    def run_program(command, **settings):
        at = command.index("-m")
        return run_child([*command[:at], "-c", program, *command[at + 2 :]], **settings)

    monkeypatch.setattr(subprocess, "run", run_program)
    monkeypatch.setattr(trial, "_SECONDS", 3)  # imports take one


def test_a_crash_of_the_child_is_one_line(tiny, cache, monkeypatch):
    end_with(monkeypatch, -6, b"x.cpp:7: GGML_ASSERT(a == b) failed\n#0 ...\n")
    result = run("tag", "-m", tiny.gguf, stdin="Ada")
    assert_error(result, r"tiny-f16\.gguf: llama\.cpp crashes when .* \(x\.cpp:7: GGML_ASSERT\(a")
    end_with(monkeypatch, -11, b"")
    assert_error(run("tag", "-m", tiny.gguf, stdin="Ada"), r"\(exit code -11\)")
    end_with(monkeypatch, 1, b"error: it cannot\n")
    assert_error(run("tag", "-m", tiny.gguf, stdin="Ada"), r"tiny-f16\.gguf: it cannot\n")


def test_the_crash_itself_is_named_and_not_what_a_debugger_says(tiny, tokens, cache, tmp_path):
    """A SentencePiece vocabulary without its byte tokens, for which there is no check."""
    values = {
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.scores": array([0.0] * len(tokens), GGUFValueType.FLOAT32),
    }
    path = rewrite(tiny.gguf, tmp_path / "a.gguf", values)
    with pytest.raises(ModelError, match=r"a\.gguf: llama\.cpp crashes .*\(what\(\):"):
        ensure_loadable(path)


def test_an_instruction_longer_than_the_context_is_said_to_be(tiny, tmp_path):
    task = json.dumps({"name": "x", "labels": {"A": "a"}, "instruction": "Find. " * 1000})
    path = rewrite(tiny.gguf, tmp_path / "a.gguf", {"ner_edge.task": text(task)})
    pattern = r"a\.gguf: its task's prompt takes \d+ tokens, but its context holds 2048"
    assert_error(run("tag", "-m", path, stdin="Ada"), pattern)


def test_where_no_child_can_be_started_the_checks_must_do(tiny, cache, monkeypatch):
    """As in a server that embeds Python."""
    asked = end_with(monkeypatch, 2, b"usage: server [options]\n", stdout=b"")
    ensure_loadable(tiny.gguf)
    ensure_loadable(tiny.gguf)
    assert len(asked) == 2, "what was not tried is not remembered"


def test_a_child_that_never_stops_computing_is_one_line(tiny, cache, monkeypatch):
    load_by(monkeypatch, "while True: pass")
    with pytest.raises(ModelError) as caught:
        ensure_loadable(tiny.gguf)
    assert str(caught.value) == (
        f"{tiny.gguf}: llama.cpp did not load it within 4 seconds of processor time; "
        "the file may be damaged: fetch or export it again"
    )


def test_waiting_for_a_processor_does_not_count(tiny, cache, monkeypatch):
    """A busy machine must not make a whole file look damaged."""
    load_by(monkeypatch, "time.sleep(5)")
    ensure_loadable(tiny.gguf)
    assert list(cache.iterdir())


def test_a_child_that_waits_for_ever_is_one_line(tiny, cache, monkeypatch):
    load_by(monkeypatch, "time.sleep(1000)")
    monkeypatch.setattr(trial, "_WALL", 1)
    with pytest.raises(ModelError) as caught:
        ensure_loadable(tiny.gguf)
    assert str(caught.value) == (
        f"{tiny.gguf}: llama.cpp did not load it within 4 seconds; the machine may be "
        "too busy, so try again; if this recurs, fetch or export the file again"
    )


def test_what_passed_is_remembered_by_what_it_holds(tiny, cache, monkeypatch, tmp_path):
    ensure_loadable(tiny.gguf)  # in a child process
    asked = end_with(monkeypatch, -6, b"")
    ensure_loadable(tiny.gguf)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny.gguf.read_bytes())
    ensure_loadable(copy)
    assert not asked
    with copy.open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match="crashes"):
        ensure_loadable(copy)


def test_without_a_cache_each_load_is_tried(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "file"))
    asked = end_with(monkeypatch, 0, b"")
    ensure_loadable(tiny.gguf)
    ensure_loadable(tiny.gguf)
    assert len(asked) == 2
