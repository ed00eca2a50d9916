"""Results replace no input, and no other file that is not an earlier result."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import assert_error, run, run_ok
from tiny_models import save_adapter

from ner_edge.files.atomic import write_text

GOLD = "Zoe I-PER\nlives O\nin O\nRome I-LOC\n"
TASK = 'name = "tiny"\ninstruction = "Find."\n[labels]\nPER = "person"\nLOC = "location"\n'


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an input of each kind, and the results of a run of `train`."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "gold.conll").write_text(GOLD * 4)
    (folder / "tiny.toml").write_text(TASK)
    shutil.copy(tiny.gguf, folder / "m.gguf")
    shutil.copytree(tiny.folder, folder / "base")
    save_adapter(folder / "foreign", folder / "base")
    train = ["train", folder / "gold.conll", "--base", folder / "base"]
    run_ok(*train, "--task", folder / "tiny.toml", "--out", folder / "own", "--set", "epochs=1")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for name, target in {"link.conll": "gold.conll", "link": "own", "dangling": "none"}.items():
        Path(name).symlink_to(target)
    os.link("gold.conll", "other.conll")
    Path("reports").mkdir()
    os.link("gold.conll", "reports/report.json")
    return tmp_path / "here"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


REFUSED = [
    ("eval gold.conll -m m.gguf --json gold.conll", "--json gold.conll: would replace gold.conll"),
    ("eval gold.conll -m m.gguf --json ./m.gguf", r"--json \./m.gguf: would replace m.gguf"),
    ("eval gold.conll -m m.gguf --json link.conll", "--json link.conll: would replace gold.conll"),
    ("eval gold.conll -m m.gguf --json other.conll", "--json other.conll: would replace gold"),
    (
        "eval gold.conll --protocol paper --adapter own --json own/adapter_config.json",
        "--json own/adapter_config.json: would replace own/adapter_config.json, which is read",
    ),
    ("eval gold.conll -m m.gguf --report reports", "--report reports: would replace gold.conll"),
    ("eval gold.conll -m m.gguf --report dangling", "--report dangling: dangling: is not a folder"),
    ("compare gold.conll --gold other.conll --json gold.conll", "would replace other.conll"),
    ("data check gold.conll --json link.conll", "--json link.conll: would replace gold.conll"),
    ("data check gold.conll --task tiny.toml --json tiny.toml", "would replace tiny.toml"),
    ("data check gold.conll --json none/a.json", "--json none/a.json: none: no such folder"),
    ("train gold.conll --out gold.conll", "--out gold.conll: gold.conll: is not a folder"),
    ("train gold.conll --out dangling", "--out dangling: dangling: is not a folder"),
    ("train gold.conll --from own --out own", "--out own: is the folder of --from; give another"),
    ("train gold.conll --from own --out link", "--out link: is the folder of --from"),
    ("train gold.conll --base base --out base", "--out base: contains a base model"),
    ("train gold.conll --base m.gguf --out .", r"--out \.: contains a base model"),
    ("train gold.conll --out base", "--out base: contains a base model; give another folder"),
    (
        "train gold.conll --out foreign",
        "--out foreign: contains adapter_model.safetensors, which `ner-edge train` did not write",
    ),
    (
        "train gold.conll --config own/training_settings.json --out own",
        "--out own: would replace own/training_settings.json, which is read; give another name",
    ),
]


@pytest.mark.parametrize(("command", "message"), REFUSED)
def test_refused_before_anything_is_loaded(command, message, folder, monkeypatch):
    monkeypatch.setattr("ner_edge.train.run.open_start", lambda *_: pytest.fail("loaded"))
    monkeypatch.setattr("ner_edge.tagger.Tagger.load", lambda *_: pytest.fail("loaded"))
    # The saved settings of a run are not a settings file.
    monkeypatch.setattr("ner_edge.train.settings._read_file", lambda path: {})
    before = contents(folder)
    assert_error(run(*command.split()), message, exit_code=2)
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["text", "weights", "folder", "pipe", "socket"])
def test_a_checkpoint_that_is_none_stays(kind, folder):
    path = Path("new/checkpoint.pt")
    path.parent.mkdir()
    if kind == "text":
        path.write_text("notes on a checkpoint")
    elif kind == "weights":
        torch.save({"model": torch.zeros(3)}, path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        socket.socket(socket.AF_UNIX).bind(str(path))
    train = ["train", "gold.conll", "--base", "base", "--task", "tiny.toml", "--out", "new"]
    message = (
        "--out new: contains checkpoint.pt, which `ner-edge train` did not write; "
        "give another folder"
    )
    assert_error(run(*train), message, exit_code=2)
    result = run(*train, "--resume")
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert "new/checkpoint.pt: not a checkpoint of this run (" in result.stderr
    assert os.path.lexists(path)


def test_a_run_leaves_what_is_not_its_own(folder):
    """peft would write a README.md over an existing one."""
    Path("new").mkdir()
    for name in ("README.md", "notes.txt", "m-f16.gguf", ".hidden"):
        (Path("new") / name).write_text("mine")
    train = ["train", "gold.conll", "--base", "base", "--task", "tiny.toml", "--set", "epochs=1"]
    run_ok(*train, "--out", "new")
    run_ok(*train, "--out", "new")  # replaces the results of a run
    names = {path.name for path in Path("new").iterdir()}
    mine = {"README.md", "notes.txt", "m-f16.gguf", ".hidden"}
    assert names == mine | {path.name for path in Path("own").iterdir()}
    assert all((Path("new") / name).read_text() == "mine" for name in mine)
    run_ok(*train, "--from", "own", "--out", "own/further")


def test_a_failed_start_makes_no_folder(folder):
    assert run("train", "gold.conll", "--base", "foreign", "--out", "new/a").exit_code == 1
    assert not Path("new").exists()


def test_a_base_that_is_not_there(folder):
    """The path in a configuration is valid only in the folder in which training was started."""
    config = json.loads(Path("own/adapter_config.json").read_text())
    Path("own/adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "../runs/base"})
    )
    message = (
        r"own: its base model, \.\./runs/base, was not found; give --base "
        r"\(\.\./runs/base: no such file or folder, and not a hub id "
        r"\(such as Qwen/Qwen2\.5-0\.5B\)\)"
    )
    assert_error(run("export", "own"), message, exit_code=2)
    paper = ["eval", "gold.conll", "--protocol", "paper", "--adapter", "own"]
    assert_error(run(*paper), message, exit_code=2)
    Path("own/adapter_config.json").write_text("{")
    assert_error(
        run("export", "own", "--out", "new"), r"own/adapter_config\.json: not a LoRA configuration"
    )


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_text("new", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs /dev/fd")
def test_streams_are_written_into(folder):
    program = (
        "from ner_edge.files.atomic import write_text; import sys; write_text('x\\n', sys.argv[1])"
    )
    for target in ("/dev/stdout", "/dev/null"):
        command = [sys.executable, "-c", program, target]
        result = subprocess.run(command, capture_output=True, text=True)
        assert (result.stdout, result.stderr) == ("x\n" * (target == "/dev/stdout"), "")
    assert Path("/dev/null").is_char_device()
    run_ok("data", "check", "gold.conll", "--json", "/dev/null")


def test_a_pipe_that_nobody_reads_is_an_error(folder):
    os.mkfifo("pipe")
    result = run("data", "check", "gold.conll", "--json", "pipe")
    assert result.exit_code == 1
    assert result.stderr == "error: pipe: No such device or address\n"
