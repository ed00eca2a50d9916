"""README and docs: every command and block runs, every link, file, option and variable exists."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from doc_pages import CLI, PAGES, ROOT, Block, anchors, blocks_of, prose, read_page
from tiny_models import save_adapter, save_model
from typer.testing import CliRunner

from ner_edge import builtin
from ner_edge.cli.app import app
from ner_edge.data.labelled import read_labelled
from ner_edge.task import Task, load_task
from ner_edge.train.data import parse_data_file
from ner_edge.train.settings import resolve_settings

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CONSOLE = [block for block in BLOCKS if block.language == "console"]
HUB_ID = "Qwen/Qwen2.5-0.5B"
RUNNABLE_PAGES = sorted({b.page for b in CONSOLE if b.mark != "skip"})
PYTHON_PAGES = sorted({block.page for block in BLOCKS if block.language == "python"})
COMMAND = """\
#!{python}
from pathlib import Path
from ner_edge import builtin
from ner_edge.cli.app import main
if default := {default!r}:
    builtin.built_in_model = lambda model, quant="": Path(default)
main()
"""


def run(command: str) -> str:
    """Run a command and return its standard output; in this process if it needs no shell."""
    if command.startswith("ner-edge ") and not re.search(r"[|$<>&;#]", command):
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, f"$ {command}\n{result.output}"
        return str(result.stdout)
    shell = ["bash", "-o", "pipefail", "-c", command]
    finished = subprocess.run(shell, capture_output=True, text=True)
    assert finished.returncode == 0, f"$ {command}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models in place of those that the documentation names: a hub cache with the base, and an
    adapter with its files, one of which also stands for the default model."""
    root = tmp_path_factory.mktemp("models")
    base = root / "hub" / f"models--{HUB_ID.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("0" * 40)
    snapshot = save_model(base / "snapshots" / ("0" * 40), "qwen2", max_position_embeddings=4096)
    adapter = save_adapter(root / "files" / "my-adapter", snapshot)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = HUB_ID
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    load_task("conll2003-short").save(adapter)
    quants = [option for quant in ("f16", "q8_0", "q4_k_m") for option in ("--quant", quant)]
    files = ["--base", str(snapshot), "--out", str(root / "files")]
    run(shlex.join(["ner-edge", "export", str(adapter), *quants, *files]))
    return root


@pytest.fixture
def folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the documentation names."""
    shutil.copytree(models / "files", tmp_path, dirs_exist_ok=True)
    news = (ROOT / "examples" / "news.conll").read_text(encoding="utf-8").split("\n\n")
    for i, name in enumerate(("train", "dev", "test", "held-out", "wiki", "wiki-dev")):
        size = 8 if name == "train" else 3
        (tmp_path / f"{name}.conll").write_text("\n\n".join(news[8 * i :][:size]) + "\n")
    sentences = read_labelled(tmp_path / "test.conll")
    columns = [f"{word} NN O B-PER\n" for word in sentences[0].words]
    (tmp_path / "conll2003.txt").write_text("".join(columns))
    for name in ("spacy", "gliner"):
        lines = [json.dumps({"text": s.text, "entities": []}) + "\n" for s in sentences]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    (tmp_path / "letters").mkdir()
    for name in ("letter.txt", "news.txt", "letters/a.txt"):
        (tmp_path / name).write_text("Ada Lovelace lived in London.\nNobody came.\n")
    (tmp_path / "reviews.csv").write_text("id,text\n7,Ada Lovelace lived in London.\n8,Nobody.\n")
    (tmp_path / "words.conll").write_text("Ada\nLovelace\nlived\n.\n")
    (tmp_path / "tasks.json").write_text('[{"id": 7, "data": {"text": "Ada lives in London."}}]')
    for name in ("products.toml", "products.jsonl"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    for name in ("scripts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install_command(folder: Path, monkeypatch: pytest.MonkeyPatch, default: str = "") -> None:
    """Put a `ner-edge` of this code on the path; `default` is the file of the default model."""
    command = folder / "bin" / "ner-edge"
    command.parent.mkdir()
    command.write_text(COMMAND.format(python=sys.executable, default=default))
    command.chmod(0o755)
    path = [str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))


@pytest.fixture
def offline(folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models' caches, for this process and those it starts; one thread suits them."""
    from huggingface_hub import constants

    from ner_edge.runtime import llama

    default = models / "files" / "my-adapter-f16.gguf"
    monkeypatch.setattr(llama, "physical_cores", lambda: 1)
    monkeypatch.setattr(builtin, "built_in_model", lambda model, quant="": default)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(models / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(models / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NER_EDGE_CACHE", str(models / "cache"))
    install_command(folder, monkeypatch, str(default))


def run_page(page: str, left_out: tuple[str, ...]) -> None:
    if "--out my-adapter" in read_page(page):
        shutil.rmtree("my-adapter")  # the page makes it
    for block in CONSOLE:
        if block.page == page and block.mark not in left_out:
            for command, _ in block.commands:
                run(command)


@pytest.mark.parametrize("page", RUNNABLE_PAGES)
@pytest.mark.usefixtures("offline")
def test_every_command_runs(page):
    run_page(page, ("skip", "long"))


@pytest.mark.model
@pytest.mark.parametrize("page", sorted({b.page for b in CONSOLE if b.mark == "long"}))
@pytest.mark.usefixtures("offline")
def test_every_long_command_runs(page):
    run_page(page, ("skip",))


@pytest.mark.model
@pytest.mark.parametrize("block", [b for b in CONSOLE if b.mark == "output"], ids=lambda b: b.page)
@pytest.mark.usefixtures("base_gguf")
def test_the_default_model_prints_what_is_shown(block, tmp_path, monkeypatch):
    def rounded(text: str) -> str:  # the last digits of scores differ between processors
        return re.sub(r"\d\.\d{3,}", lambda score: f"{float(score[0]):.1f}", text)

    install_command(tmp_path, monkeypatch)
    for command, shown in block.commands:
        assert rounded(run(command)) == rounded(shown)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.mark == "skip"], ids=lambda b: f"{b.page}: {b.reason}"
)
def test_a_skipped_block_names_its_reason(block):
    assert block.reason
    pytest.skip(f"{block.reason}: {block.body.strip()}")


@pytest.mark.parametrize("page", PYTHON_PAGES)
@pytest.mark.usefixtures("offline")
def test_python_blocks_run(page):
    for block in BLOCKS:
        if block.page == page and block.language == "python" and block.mark != "skip":
            exec(compile(block.body, page, "exec"), {})


def test_json_and_toml_blocks_are_read(tmp_path):
    for block in BLOCKS:
        path = tmp_path / f"block.{block.language}"
        path.write_text(block.body)
        if block.language == "json":
            assert read_labelled(path)
        elif block.language == "toml" and "labels" in tomllib.loads(block.body):
            Task.from_toml(path)
        elif block.language == "toml" and "run" in tomllib.loads(block.body):
            trial = tomllib.loads(block.body)
            for run_of_trial in trial["run"]:
                assert [*map(parse_data_file, run_of_trial["data"])]
                resolve_settings(
                    trial["preset"], flags=trial["settings"] | run_of_trial["settings"]
                )
        elif block.language == "toml":
            resolve_settings("edge", path)


def test_the_table_of_settings_is_that_of_the_presets():
    cells = re.findall(
        r"^\| `(\w+)` \| (\S+) \| (\S+) \|", read_page("docs/training.md"), re.MULTILINE
    )
    shown = {name: {"paper": paper, "edge": edge} for name, paper, edge in cells}
    for preset in ("paper", "edge"):
        for name, value in asdict(resolve_settings(preset)).items():
            cell = shown[name][preset]
            assert cell == str(value).lower() or float(cell) == value, f"{preset}: {name}"


def test_marks_are_known():
    assert {block.mark for block in BLOCKS} <= {"", "skip", "long", "output"}
    comments = sum(read_page(page).count("<!-- docs-test: ") for page in PAGES)
    in_prose = read_page("CONTRIBUTING.md").count("`<!-- docs-test: ")
    assert comments - in_prose == sum(bool(block.mark) for block in BLOCKS)


@pytest.mark.parametrize("page", [*PAGES, "LOG.md", "examples/README.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(str(path.resolve().relative_to(ROOT))), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page):
    rooms = "ner_edge|train|export|runtime|eval|scripts|tests|docs|examples"
    for name in re.findall(rf"(?<![\w./-])((?:{rooms})/[\w./-]*\w/?)", read_page(page)):
        if page != "docs/environment.md":
            assert (ROOT / name).exists(), f"{page}: {name}"


def options_of_commands() -> Iterator[tuple[str, set[str]]]:
    """The options of each command, from the reference."""
    for section in re.split(r"^## ", read_page(CLI), flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        yield name, {"--help", "--version", *re.findall(r"`(--?[\w-]+)", text)}


@pytest.mark.parametrize("page", [page for page in PAGES if page != CLI])
def test_named_options_exist(page):
    options = dict(options_of_commands())
    every = set().union(*options.values())
    for option in re.findall(r"`(--[a-z-]+)[^`]*`", prose(page)):
        assert option in every | {"--preload"}, f"{page}: {option}"
    for block in CONSOLE:
        for command, _ in block.commands if block.page == page else ():
            for call in re.findall(r"(?:^|[ (])ner-edge (data \w+|\w+)([^|>)]*)", command):
                used = set(re.findall(r"(?<!\S)(--?[a-z][\w-]*)", call[1]))
                assert used <= options[f"ner-edge {call[0]}"], f"{page}: {command}"


def test_the_command_line_reference_is_up_to_date():
    made = run(f"{ROOT}/scripts/make-cli-reference")
    assert made == read_page(CLI), "run: scripts/make-cli-reference > docs/cli.md"


@pytest.mark.model
@pytest.mark.usefixtures("base_gguf")
def test_the_recording_is_up_to_date(tmp_path, monkeypatch):
    install_command(tmp_path, monkeypatch)
    monkeypatch.chdir(ROOT)
    assert run("scripts/record-tag") == read_page("docs/tag.svg")


def test_every_environment_variable_is_documented():
    documented = set(re.findall(r"[A-Z][A-Z_]{3,}", read_page("docs/environment.md")))
    used = set()
    for room in ("ner_edge", "train", "export", "runtime", "eval", "tests"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(r"NER_EDGE_[A-Z_]+\b", text))
            if room != "tests":
                used |= set(re.findall(r'environ(?:\.\w+\(|\[)"(\w+)"', text))
                used |= set(re.findall(r'"(\w+)" (?:not )?in os\.environ', text))
    assert used <= documented
    assert {name for name in documented if name.startswith("NER_EDGE_")} <= used


def test_figures_are_those_of_the_lab_notebook():
    log = read_page("LOG.md")
    results = read_page("README.md").partition("## Results")[2].partition("## Documentation")[0]
    for text in (results, read_page("docs/benchmarks.md")):
        for figure in re.findall(r"(?<![\w.])\d+\.\d{2,}(?![\w.])", text):
            assert figure in log, figure


def blocks(text: str, tmp_path: Path) -> list[Block]:
    (tmp_path / "page.md").write_text(text)
    return blocks_of(str(tmp_path / "page.md"))


def test_commands_are_told_from_their_output(tmp_path):
    text = "<!-- docs-test: skip no network -->\n```console\n$ a \\\n    b\nout\n$ c\n```\n"
    (block,) = blocks(text, tmp_path)
    assert (block.mark, block.reason) == ("skip", "no network")
    assert [(command.split(), shown) for command, shown in block.commands] == [
        (["a", "b"], "out\n"),
        (["c"], ""),
    ]
