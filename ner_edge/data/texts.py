"""Read texts, one per line, from files or standard input, even if some bytes are invalid."""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from ner_edge.errors import DataError
from ner_edge.files.inputs import exact_encoding, open_input

STDIN = Path("-")


def read_texts(
    paths: Sequence[Path], warn: Callable[[str], None], advance: Callable[[int], None]
) -> Iterator[str]:
    """Yield the lines of all files without their line ends; `-` is standard input.

    A file is UTF-8 unless a signature names UTF-16 or UTF-32. Invalid bytes become U+FFFD, with one
    call of `warn` per file. `advance` receives the number of bytes of each line as it is read.
    Raises `DataError` if a file cannot be read.
    """
    for path in paths:
        try:
            with _open(path) as stream:
                for line in _texts(stream, path, warn, advance):
                    yield line.removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def check_readable(paths: Sequence[Path]) -> int | None:
    """Return the total size of the files in bytes; None if it is unknown.

    Raises `DataError` for files that cannot be read. Pipes are not checked, since they can be
    opened only once.
    """
    sizes = [None if path == STDIN or _is_pipe(path) else _size(path) for path in paths]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _open(path: Path) -> "nullcontext[BinaryIO] | BinaryIO":
    return nullcontext(sys.stdin.buffer) if path == STDIN else open_input(path, pipes=True)


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):  # `open_input` explains it
        return False


def _size(path: Path) -> int | None:
    with open_input(path, pipes=True) as file:
        status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _texts(
    stream: BinaryIO, path: Path, warn: Callable[[str], None], advance: Callable[[int], None]
) -> Iterator[str]:
    warned = False
    first = stream.readline()
    encoding = exact_encoding(first)
    for number, line in enumerate(_lines(first, stream, encoding), 1):
        advance(len(line))
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            text = line.decode(encoding, "replace")
            if not warned:
                warned = True
                name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
                byte = f"byte 0x{line[error.start]:02x}"
                warn(f"{path}:{number}: not {name} ({byte}); invalid bytes are read as \ufffd")
        if number == 1:
            text = text.removeprefix("\ufeff")
        if text:  # else the file contains only a signature
            yield text


def _lines(first: bytes, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    newline = "\n".encode(encoding)
    pieces: list[bytes] = []
    piece = first
    while piece:
        # The newline byte may be in the middle of a wider character.
        piece += stream.read(-len(piece) % len(newline))
        pieces.append(piece)
        if piece.endswith(newline):
            yield b"".join(pieces)
            pieces = []
        piece = stream.readline()
    if pieces:
        yield b"".join(pieces)
