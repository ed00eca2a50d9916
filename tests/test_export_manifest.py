"""The files that describe a model: manifest, model card and Modelfile."""

import hashlib
import json
import re
import shlex

import pytest
from command_line import assert_error, run, run_ok
from exporting import export_model
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_models import save_adapter, save_model

from ner_edge.errors import NerEdgeWarning, UsageError
from ner_edge.export.describe.manifest import read_manifest
from ner_edge.export.describe.modelfile import template
from ner_edge.export.read.base import open_gguf_base
from ner_edge.export.verify import integrity
from ner_edge.export.verify.integrity import check_integrity
from ner_edge.export.write_gguf import text_value
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.metadata import describe
from ner_edge.models.resolve import resolve_adapter
from ner_edge.prompt import TEMPLATES
from ner_edge.task import Task


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    folder = save_adapter(tmp_path_factory.mktemp("adapter") / "ner", tiny.folder)
    tiny.task.save(folder)
    return folder


def test_every_file_has_its_manifest(tiny, adapter, tmp_path):
    for path in export_model(tiny.folder, adapter, tmp_path, ["f16", "q8_0", "q4_0"]):
        record = json.loads(path.with_suffix(".json").read_text())
        metadata = describe(path)
        assert record["file"] == path.name
        assert record["sha256"] == sha256_of(path)
        assert record["bytes"] == path.stat().st_size
        assert record["quantization"] == metadata.quant
        assert record["bits_per_weight"] == round(metadata.bits_per_weight, 4)
        assert record["tensor_types"] == metadata.tensor_types
        assert record["task"] == tiny.task.name
        digests = {
            "base": sha256_of(tiny.folder / "model.safetensors"),
            "adapter": sha256_of(adapter / "adapter_model.safetensors"),
        }
        for what, digest in digests.items():
            assert record["made_of"][what]["sha256"] == metadata.provenance[what] == digest
        assert record["made_of"]["base"]["name"] == "tiny"
        assert set(record["tools"]) == {"ner-edge", "llama-cpp-python", "gguf", "numpy"}
        count = sum(metadata.tensor_types.values())
        assert [str(check) for check in read_manifest(path).checks][:2] == [
            f"✓ finite: all weights of {count} tensors",
            f"✓ merged: 14 of {count} tensors differ from the base in float32",
        ]
        assert str(read_manifest(path).checks[2]).startswith(
            "✓ tokens: 3 texts split as by tokenizers "
        )


def test_a_base_in_parts_has_the_hash_of_their_listing(tmp_path):
    base = save_model(tmp_path / "base", max_shard_size="100KB")
    (path,) = export_model(base, None, tmp_path, ["f16"])
    listing = "".join(
        f"{hashlib.sha256(part.read_bytes()).hexdigest()}  {part.name}\n"
        for part in sorted(base.glob("*.safetensors"))
    )
    assert listing.count("\n") > 1
    digest = hashlib.sha256(listing.encode()).hexdigest()
    assert read_manifest(path).provenance["base"] == {"name": "base", "sha256": digest}
    assert [check.name for check in read_manifest(path).checks] == ["finite", "tokens"]


def test_tokens_of_a_gguf_are_its_own(tiny, tmp_path):
    (path,) = export_model(tiny.gguf, None, tmp_path, ["f16"])
    assert str(read_manifest(path).checks[-1]) == (
        "– tokens: not compared: the base is a GGUF, whose vocabulary is kept"
    )


def test_tokens_that_differ_are_a_warning_and_on_record(tmp_path):
    base = save_model(tmp_path / "base")
    (path,) = export_model(base, None, tmp_path, ["f16"])
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    merges = tokenizer["model"]["merges"]
    assert merges
    read = base / "tokenizer.json"
    changed = tokenizer | {"model": tokenizer["model"] | {"merges": merges[5:]}}
    read.write_text(json.dumps(changed))
    from ner_edge.export.verify.tokens import check_tokens

    check = check_tokens(path, base)
    assert check.ok is False
    assert "llama.cpp and tokenizer.json split 'Ada Lovelace" in check.detail


def test_a_failed_check_warns(tiny, tmp_path, monkeypatch):
    from ner_edge.export import pipeline
    from ner_edge.export.describe.manifest import CheckResult

    failed = CheckResult("tokens", False, "llama.cpp splits 'x' otherwise")
    monkeypatch.setattr(pipeline, "check_tokens", lambda *_: failed)
    with pytest.warns(NerEdgeWarning, match=r"f16\.gguf: ✗ tokens: llama\.cpp splits 'x'"):
        (path,) = export_model(tiny.folder, None, tmp_path, ["f16"], task=tiny.task)
    assert read_manifest(path).checks[-1] == failed


@pytest.mark.parametrize("block", [34 * 3, 1000, 1 << 22])
def test_one_pass_gives_the_hash_of_the_whole_file(block, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "_BLOCK", block)
    (path,) = export_model(tiny.folder, None, tmp_path, ["q8_0"], task=tiny.task)
    with path.open("ab") as file:
        file.write(b"something behind the last tensor")
    assert check_integrity(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert check_integrity(path).finite.ok


def test_a_new_export_replaces_the_manifest(tiny, adapter, tmp_path):
    (path,) = export_model(tiny.folder, adapter, tmp_path, ["f16"], name="m")
    first = read_manifest(path)
    export_model(tiny.folder, None, tmp_path, ["f16"], name="m", task=tiny.task)
    second = read_manifest(path)
    assert second.sha256 == sha256_of(path) != first.sha256
    assert "adapter" not in second.provenance


def test_the_card_says_what_the_files_are(tiny, adapter, tmp_path):
    (tiny.folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    scores = json.loads((resolve_adapter(None) / "scores.json").read_text())
    options = ["--base", tiny.folder, "-q", "q8_0", "-q", "q4_0", "--threads", 1, "-o", tmp_path]
    try:
        run_ok("export", adapter, *options, "--card")
        without = (tmp_path / "ner.md").read_text()
        (adapter / "scores.json").write_text(json.dumps(scores))
        run_ok("export", adapter, *options, "--card")
    finally:
        (tiny.folder / "README.md").unlink()
        (adapter / "scores.json").unlink()
    card = (tmp_path / "ner.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: ner-edge\n")
    for quant in ("q8_0", "q4_0"):
        path = tmp_path / f"ner-{quant}.gguf"
        metadata = describe(path)
        size = f"{metadata.size_bytes / 1e6:.1f} | {metadata.bits_per_weight:.2f} |"
        assert f"| [{path.name}](./{path.name}) | {quant} | {size}" in card
        assert f"| file | {path.name} | `{sha256_of(path)}` |" in card
    assert "| `PER` | person |" in card
    assert tiny.task.prefix + "{input}" + tiny.task.suffix in card
    assert f"| base | tiny | `{sha256_of(tiny.folder / 'model.safetensors')}` |" in card
    f1, precision, recall = (scores["strict_micro"][key] for key in ("f1", "precision", "recall"))
    figures = f"**{f1:.2f}** (precision {precision:.2f}, recall {recall:.2f})"
    assert f"strict micro F1 {figures}" in card
    assert "Scores" not in without
    assert without in card.replace(card[card.index("## Scores") : card.index("## Prov")], "")


def test_the_licence_of_a_gguf_is_in_its_metadata(tiny, tmp_path, monkeypatch):
    opened = open_gguf_base(tiny.gguf)
    opened.metadata["general.license"] = text_value("mit")
    monkeypatch.setattr("ner_edge.export.read.source.open_gguf_base", lambda path: opened)
    export_model(tiny.gguf, None, tmp_path, ["f16"], name="m", card=True)
    assert (tmp_path / "m.md").read_text().startswith("---\nlicense: mit\n")
    monkeypatch.undo()
    export_model(tiny.gguf, None, tmp_path, ["f16"], name="n", card=True)
    card = (tmp_path / "n.md").read_text()
    assert "license:" not in card
    assert "Licence of the base: not stated in its metadata." in card


@pytest.mark.parametrize("text", ["[]", '{"strict_micro": {"f1": "good"}}', "no JSON"])
def test_scores_of_other_programs_are_passed_over(text, tiny, adapter, tmp_path):
    (adapter / "scores.json").write_text(text)
    try:
        export_model(tiny.folder, adapter, tmp_path, ["f16"], card=True)
    finally:
        (adapter / "scores.json").unlink()
    assert "Scores" not in (tmp_path / "ner.md").read_text()


def ollama_commands(text):
    """Parse a Modelfile as Ollama does, into pairs of a command and its value. A value ends
    with the first line or space up to which its quotes are closed; what does not print is dropped,
    but for white space (parser/parser.go)."""
    commands, position = [], 0
    while match := re.compile(r"\s*(?:#[^\n]*\n\s*)*([A-Z]+(?: [a-z_]+)?(?= [\"\d.]))? ?").match(
        text, position
    ):
        if match[1] is None:
            break
        end = match.end()
        while True:
            end += 1
            value = text[match.end() : end]
            quotes = next(q for q in ('"""', '"', "") if value.startswith(q))
            closed = len(value) >= 2 * len(quotes) and value.endswith(quotes)
            if text[end : end + 1] in ("\n", "") and closed:
                break
        value = value[len(quotes) : len(value) - len(quotes)]
        kept = "".join(char for char in value if char.isprintable() or char in "\n\t")
        commands.append((match[1], kept))
        position = end
    assert not text[position:].strip()
    return commands


def go_template(text, prompt):
    """Render a template as Go does, if it only prints strings and the prompt (text/template)."""
    parts, position = [], 0
    while (start := text.find("{{", position)) >= 0:
        action = re.compile(r'\{\{ (?:\.Prompt|"((?:[^"\\]|\\.)*)") \}\}').match(text, start)
        assert action, text[start:]
        parts.append(text[position:start])
        parts.append(
            prompt
            if action[1] is None
            else action[1].encode().decode("unicode_escape")
            if "\\U" in action[1]
            else action[1].replace('\\"', '"')
        )
        position = action.end()
    return "".join(parts) + text[position:]


@given(
    st.text(alphabet=st.one_of(st.sampled_from('{}" \n\t\\#.'), st.characters(codec="utf-8"))),
    st.sampled_from(sorted(TEMPLATES)),
)
@example('"""{{ .System }}""" {"', "plain")
@example('a "" b """\n"', "alpaca")
@example('"""', "plain")
@example("\u00a0\u200b{", "chatml-user")
def test_ollama_reads_the_prompt_of_the_task(instruction, name):
    task = Task("t", {"A": "a"}, instruction, name)
    text = f'FROM ./m.gguf\nTEMPLATE """{template(task)}"""\nPARAMETER stop "\n"\n'
    (source, value), (_, found), (_, stop) = ollama_commands(text)
    assert (source, value, stop) == ("FROM", "./m.gguf", "\n")
    assert go_template(found, "Zoe .") == task.prefix + "Zoe ." + task.suffix


def test_a_modelfile_beside_each_file(tiny, adapter, tmp_path):
    options = ["--base", tiny.folder, "-q", "q8_0", "-q", "f16", "-o", tmp_path, "--modelfile"]
    run_ok("export", adapter, *options)
    for quant in ("q8_0", "f16"):
        text = (tmp_path / f"ner-{quant}.Modelfile").read_text()
        commands = dict(ollama_commands(text))
        assert commands["FROM"] == f"./ner-{quant}.gguf"
        prompt = tiny.task.prefix + "Zoe" + tiny.task.suffix
        assert go_template(commands["TEMPLATE"], "Zoe") == prompt
        assert commands["PARAMETER temperature"] == "0"
        assert commands["PARAMETER repeat_penalty"] == "1"
        assert commands["PARAMETER stop"] == "\n"
        assert "Ollama cannot constrain the answer to a grammar" in text


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("my model", "my-model-q8_0"),
        ('it\'s "quoted" #1 $HOME \\n `x`', "it-s-quoted-1-home-n-x-q8_0"),
        ("Zürich 東京", "z-rich-q8_0"),
        ('"""', "q8_0"),
    ],
)
def test_ollama_finds_a_model_of_any_printable_name(name, model, tiny, adapter, tmp_path):
    run_ok("export", adapter, "--base", tiny.folder, "-o", tmp_path, "--name", name, "--modelfile")
    (path,) = tmp_path.glob("*.Modelfile")
    text = path.read_text(encoding="utf-8")
    commands = dict(ollama_commands(text))
    # expandPath joins it with the folder of the Modelfile.
    assert (tmp_path / commands["FROM"]).samefile(path.with_suffix(".gguf"))
    # What a shell makes of the command in the comment.
    (command,) = re.findall(r"To use it: (.*)", text)
    assert shlex.split(command) == [
        *("ollama", "create", model),
        *("-f", f"./{path.name}"),
    ]


@pytest.mark.parametrize("name", ["a\nFROM b", "a\rb", "a\u00a0b", "a\tb", "a\x1bb", "a\udcff"])
def test_names_that_ollama_cannot_read_are_refused(name, tiny, adapter, tmp_path):
    with pytest.raises(UsageError, match=r"Ollama cannot open a file named .* choose another name"):
        export_model(tiny.folder, adapter, tmp_path, ["f16"], name=name, modelfile=True)
    assert list(tmp_path.iterdir()) == []


def test_a_modelfile_needs_a_task(tiny, tmp_path):
    result = run("export", "--base", tiny.folder, "-o", tmp_path, "--modelfile")
    assert_error(result, "a Modelfile contains the prompt of the model's task: give --task", 2)
    assert list(tmp_path.iterdir()) == []
