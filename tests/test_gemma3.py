"""Gemma 3: what no other family has, from its tokenizer to its licence."""

import json
import re
import shutil
from copy import deepcopy

import numpy as np
import pytest
import torch
from command_line import run, run_ok
from exporting import export_model
from gguf import GGUFValueType, TokenType
from test_gguf_model import array, fraction, number, rewrite
from tiny_models import GEMMA3, gguf_logits, load_model, logits, save_model

from ner_edge.architectures import BY_NAME
from ner_edge.errors import ModelError
from ner_edge.export.quantize.collect_imatrix import ImatrixData, collect_imatrix
from ner_edge.gguf.check import check_model
from ner_edge.gguf.file import GGUFFile
from ner_edge.hf.torch_model import load_base
from ner_edge.spans import Span
from ner_edge.task import Task
from ner_edge.train.settings import resolve_settings
from ner_edge.train.start import open_start

TASK = Task("tiny", {"PER": "person", "LOC": "location"}, "Find.", "plain")
LICENCE = str(BY_NAME["gemma3"].licence)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a random model in `base` and its exported files."""
    root = tmp_path_factory.mktemp("gemma3")
    base = save_model(root / "base", "gemma3_text", sliding_window=128)
    TASK.save(base)
    export_model(base, None, root, ["f32", "q8_0"], name="m", card=True)
    (root / "task.toml").write_text(
        'name = "tiny"\ninstruction = "Find."\ntemplate = "plain"\n'
        '[labels]\nPER = "person"\nLOC = "location"\n'
    )
    return root


def test_metadata_are_those_of_llama_cpp_s_converter(root):
    file = GGUFFile(root / "m-f32.gguf")
    assert file.get("gemma3.attention.sliding_window") == 128
    assert file.get("gemma3.rope.freq_base") == 1_000_000.0
    assert file.get("gemma3.rope.freq_base_swa") == 10_000.0
    assert file.get("tokenizer.ggml.model") == "llama"
    assert file.get("tokenizer.ggml.pre") == "default"
    assert file.get("tokenizer.ggml.add_bos_token") is True
    assert file.get("tokenizer.ggml.add_space_prefix") is False
    assert file.get("tokenizer.ggml.merges") is None
    tokens = file.items("tokenizer.ggml.tokens")
    columns = [file.items(f"tokenizer.ggml.{key}") for key in ("token_type", "scores")]
    rows = dict(zip(tokens, zip(*columns, strict=True), strict=True))
    assert rows[b"<bos>"] == (TokenType.CONTROL, -1000.0)
    assert rows[b"\n\n"] == (TokenType.USER_DEFINED, -1000.0)
    assert rows[b"<0x41>"] == (TokenType.BYTE, 0.0)
    assert rows[tokens[-1]] == (TokenType.UNUSED, -10000.0)
    normal = [score for kind, score in rows.values() if kind == TokenType.NORMAL]
    assert normal == [-float(i) for i in range(len(normal))]


def test_norms_hold_what_transformers_adds(root):
    weight = load_model(root / "base").model.norm.weight.detach().numpy()
    stored = GGUFFile(root / "m-f32.gguf").float32("output_norm.weight")
    np.testing.assert_array_equal(stored, weight + np.float32(1))


def test_a_gguf_in_torch_is_the_model_it_was_made_from(root):
    loaded, tokenizer = load_base(root / "m-f32.gguf", torch.float32, CPU)
    folder, expected = load_base(root / "base", torch.float32, CPU)
    text = "Zoe lives in Rome , 東京 \n\n <start_of_turn>"
    ids = expected(text).input_ids
    assert tokenizer(text).input_ids == ids
    assert loaded.config.query_pre_attn_scalar == GEMMA3["query_pre_attn_scalar"]
    ids = [3 + i % 200 for i in range(160)]  # beyond the window
    assert np.abs(logits(loaded, ids) - logits(folder, ids)).max() < 1e-4
    config = deepcopy(folder.config)
    config.sliding_window = 1000
    wide = type(folder)(config).eval()
    wide.load_state_dict(folder.state_dict())
    assert np.abs(logits(wide, ids) - logits(folder, ids)).max() > 0.01, "the window matters"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gemma3.rope.freq_base_swa": fraction(20000.0)}, "its gemma3.rope.freq_base_swa 20000"),
        ({"gemma3.rope.scaling.factor": fraction(8.0)}, r"scaling\.factor 8"),
    ],
)
def test_what_transformers_does_not_read_is_refused(values, message, root, tmp_path):
    path = rewrite(root / "m-f32.gguf", tmp_path / "a.gguf", values)
    with pytest.raises(ModelError, match=rf"a\.gguf: transformers ignores .*{message}"):
        load_base(path, torch.float32, CPU)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gemma3.attention.sliding_window": number(0)}, "sliding_window is 0"),
        ({"gemma3.attention.sliding_window_pattern": number(2)}, "another pattern of sliding"),
        ({"gemma3.rope.freq_base_swa": fraction(0.0)}, r"freq_base_swa is 0\.0"),
        ({"tokenizer.ggml.scores": array([1.0], GGUFValueType.FLOAT32)}, "scores has 1 items"),
    ],
)
def test_contradictions_are_refused(values, message, root, tmp_path):
    with pytest.raises(ModelError, match=message):
        check_model(GGUFFile(rewrite(root / "m-f32.gguf", tmp_path / "a.gguf", values)))


def test_a_missing_norm_is_refused(root, tmp_path):
    file = GGUFFile(root / "m-f32.gguf")
    shapes = {name: info.shape for name, info in file.tensors.items()}
    del shapes["blk.6.post_ffw_norm.weight"]
    with pytest.raises(ModelError, match=r"lack blk\.6\.post_ffw_norm\.weight"):
        check_model(file).check(shapes)


def changed(root, tmp_path, name, change):
    """A copy of the base with a JSON file changed."""
    base = tmp_path / "base"
    shutil.copytree(root / "base", base)
    content = json.loads((base / name).read_text())
    change(content)
    (base / name).write_text(json.dumps(content))
    return base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_activation": "silu"}, "hidden_act silu"),
        ({"query_pre_attn_scalar": 168}, "query_pre_attn_scalar 168 with heads 16 wide"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"layer_types": ["full_attention"] * 7}, "layer_types .not one in 6 global"),
        ({"sliding_window_pattern": 3}, "sliding_window_pattern 3"),
        ({"sliding_window": None}, "sliding_window null"),
    ],
)
def test_what_llama_cpp_computes_differently_is_refused(change, message, root, tmp_path):
    base = changed(root, tmp_path, "config.json", lambda config: config.update(change))
    with pytest.raises(ModelError, match=f"cannot be exported because of its .*{message}"):
        export_model(base, None, tmp_path, ["f32"])


def test_settings_may_be_as_the_first_release_of_gemma_3_had_them(root, tmp_path):
    def old(config):
        for key in ("layer_types", "rope_parameters", "tie_word_embeddings"):
            del config[key]
        config |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 6}

    base = changed(root, tmp_path, "config.json", old)
    (path,) = export_model(base, None, tmp_path, ["f32"])
    ids = [3 + i % 200 for i in range(20)]
    np.testing.assert_array_equal(gguf_logits(path, ids), gguf_logits(root / "m-f32.gguf", ids))


TOKENIZERS = {
    "a merge is missing": (lambda t: t["model"]["merges"].pop(5), "its merges are not those"),
    "merges in another order": (lambda t: t["model"]["merges"].reverse(), "its merges are not"),
    "a byte is missing": (lambda t: t["model"]["vocab"].pop("<0x41>"), "lacks the token <0x41>"),
    "no bytes": (lambda t: t["model"].update(byte_fallback=False), "not a SentencePiece"),
    "a normalizer": (lambda t: t.update(normalizer={"type": "NFC"}), "its normalizer does not"),
    "words": (lambda t: t.update(pre_tokenizer={"type": "Digits"}), "its pre-tokenizer does not"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_other_tokenizers_are_refused(name, root, tmp_path):
    change, message = TOKENIZERS[name]
    base = changed(root, tmp_path, "tokenizer.json", change)
    with pytest.raises(ModelError, match=message):
        export_model(base, None, tmp_path, ["f32"])


def test_a_folder_with_tokenizer_model_alone_is_told_the_way_out(root, tmp_path):
    shutil.copytree(root / "base", tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").rename(tmp_path / "base" / "tokenizer.model")
    with pytest.raises(ModelError, match=r"tokenizer\.json, only tokenizer\.model; save .* with"):
        export_model(tmp_path / "base", None, tmp_path, ["f32"])


def test_an_image_token_without_embedding_is_left_out(root, tmp_path):
    image = {"content": "<image_soft_token>", "special": True, "id": 100_000}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    base = changed(
        root, tmp_path, "tokenizer.json", lambda t: t["added_tokens"].append(flags | image)
    )
    (path,) = export_model(base, None, tmp_path, ["f32"])
    tokens = [GGUFFile(p).items("tokenizer.ggml.tokens") for p in (path, root / "m-f32.gguf")]
    assert tokens[0] == tokens[1]


def test_the_licence_is_named(root):
    assert LICENCE == "Gemma Terms of Use (https://ai.google.dev/gemma/terms)"
    assert f"\nlicence:       {LICENCE}\n" in run_ok("info", root / "m-f32.gguf")
    card = (root / "m.md").read_text()
    assert card.startswith("---\nlicense: gemma\n")
    assert f"Licence of the base: {LICENCE}." in card
    assert GGUFFile(root / "m-f32.gguf").get("general.license") == "gemma"


def test_it_tags_and_passes_its_checks(root):
    tagged = run_ok("tag", "-m", root / "m-q8_0.gguf", stdin="Zoe lives in Rome.")
    assert tagged.replace("[", "").split()[0] == "Zoe"
    run_ok("verify", root / "m-f32.gguf")


def test_every_matrix_gets_an_importance(root):
    answers = ImatrixData([(["Zoe", "left", "."], [Span(0, 1, "PER")])], "a.conll")
    found = collect_imatrix(root / "m-f32.gguf", TASK, answers, threads=1)
    tensors = GGUFFile(root / "m-f32.gguf").tensors
    assert found.sums.keys() - {"output.weight"} == {
        name for name, info in tensors.items() if len(info.shape) == 2
    }


def train_command(root, tmp_path, text):
    (tmp_path / "train.conll").write_text(text)
    return [
        *("train", tmp_path / "train.conll", "--base", root / "base", "--out", tmp_path / "out"),
        *("--task", root / "task.toml", "--dry-run", "--set", "rank=4", "--set", "dtype=float32"),
    ]


def test_training_names_the_licence_and_the_window(root, tmp_path):
    said = run_ok(*train_command(root, tmp_path, "Zoe I-PER\nleft O\n. O\n\n" * 4))
    assert f"\n✓ licence   the base and models trained from it are under the {LICENCE}\n" in said
    assert re.search(r"✓ tokens .* limit 128 \(the model's sliding window\)", said)


def test_a_sentence_longer_than_the_window_is_refused(root, tmp_path):
    text = "Zoe I-PER\n" + "left O\n" * 60 + ". O\n\n"
    result = run(*train_command(root, tmp_path, text * 2))
    assert result.exit_code == 1
    assert "2 of 2 sentences need more tokens than the model's sliding window, 128" in result.stderr


def test_training_from_a_gguf_sees_the_same_weights(root):
    settings = resolve_settings("edge", flags={"rank": 4, "dtype": "float32"})
    starts = [open_start(str(root / base), settings, None, None) for base in ("base", "m-f32.gguf")]
    for here, there in zip(*(start.model.parameters() for start in starts), strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=1e-6)
