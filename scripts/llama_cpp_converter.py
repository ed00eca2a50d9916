"""llama.cpp's own converter, as the peer that scripts here measure and compare with."""

import importlib.metadata
import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

from ner_edge.files.cache import cache_dir
from ner_edge.gguf.file import GGUFFile

_RUN = """
import runpy, sys
source, pre, *arguments = sys.argv[1:]
sys.path.insert(0, source)
sys.path.insert(1, source + "/gguf-py")
from conversion.base import TextModel
if pre:  # it recognizes pre-tokenizers by their tokens of one text, which depend on the vocabulary
    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
sys.argv = ["convert_hf_to_gguf.py", *arguments]
runpy.run_path(source + "/convert_hf_to_gguf.py", run_name="__main__")
"""

_QUANTIZE = """
import ctypes, sys
import llama_cpp
source, target, file_type, threads = sys.argv[1:]
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype, parameters.nthread = int(file_type), int(threads)
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)))
"""


def llama_cpp_source() -> Path:
    """Return the source of the installed llama-cpp-python's llama.cpp; downloaded once (77 MB)."""
    version = importlib.metadata.version("llama-cpp-python")
    name = f"llama_cpp_python-{version}"
    folder = cache_dir() / "sources"
    if not (folder / name).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "llama-cpp-python", "--dest", str(folder)]
        subprocess.run([*command, f"llama-cpp-python=={version}"], check=True, stdout=sys.stderr)
        with tarfile.open(folder / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder / name / "vendor" / "llama.cpp"


def convert_command(source: Path, model: Path, out: Path, kind: str, pre: str = "") -> list[str]:
    """Return the command that converts the Hugging Face folder `model` to `out`.

    `pre` names the pre-tokenizer, where the vocabulary is not a published one.
    """
    arguments = [str(model), "--outfile", str(out), "--outtype", kind]
    return [sys.executable, "-c", _RUN, str(source), pre, *arguments]


def quantize_command(source: Path, target: Path, file_type: int, threads: int) -> list[str]:
    """Return the command that quantizes as llama.cpp's `llama-quantize` does."""
    return [sys.executable, "-c", _QUANTIZE, str(source), str(target), str(file_type), str(threads)]


def write_sentencepiece(path: Path, file: GGUFFile) -> None:
    """Write the vocabulary of a GGUF as the `tokenizer.model` that the converter reads.

    Format: https://github.com/google/sentencepiece, `src/sentencepiece_model.proto`.
    """
    unknown = file.get("tokenizer.ggml.unknown_token_id")
    columns = [file.items(f"tokenizer.ggml.{key}") or [] for key in ("tokens", "scores")]
    kinds = file.items("tokenizer.ggml.token_type") or []
    pieces = bytearray()
    for number, (token, score, kind) in enumerate(zip(*columns, kinds, strict=True)):
        piece = _field(1, token) + b"\x15" + struct.pack("<f", score)
        piece += _field(3, 2 if number == unknown else kind)  # the types have GGUF's numbers
        pieces += _field(1, piece)
    names = ("unknown", "bos", "eos", "padding")
    ids = [file.get(f"tokenizer.ggml.{name}_token_id") for name in names]
    trainer = _field(3, 2) + _field(35, 1)  # BPE, with byte fallback
    trainer += b"".join(_field(number, value) for number, value in enumerate(ids, 40))
    path.write_bytes(bytes(pieces) + _field(2, trainer))


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def with_threads(threads: int) -> dict[str, str]:
    """Return an environment in which numpy and torch use this many threads."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}
