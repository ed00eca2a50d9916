"""Lines of files in UTF-8, as bytes with their ends."""

import hashlib
from collections.abc import Iterator
from io import BufferedReader, BytesIO

from ner_edge.bulk.parts import Part
from ner_edge.bulk.storage import Location
from ner_edge.errors import DataError
from ner_edge.files.inputs import encoding_of

LINE_LIMIT = 64_000_000  # bytes
SIGNATURE = b"\xef\xbb\xbf"


def lines_of(file: BufferedReader, location: Location) -> Iterator[bytes]:
    """Yield the lines; the first may begin with the signature of UTF-8.

    Raises `DataError` for another encoding, and for a line that is too long.
    """
    encoding = encoding_of(file.peek(4)[:4])
    if not encoding.startswith("utf-8"):
        raise DataError(f"{location.shown}: is {encoding.upper()}; convert it to UTF-8")
    number = 0
    while line := file.readline(LINE_LIMIT + 1):
        number += 1
        if len(line) > LINE_LIMIT:
            raise DataError(
                f"{location.shown}:{number}: this line is longer than {LINE_LIMIT / 1e6:g} MB"
            )
        if line != SIGNATURE:
            yield line


def lines_in(location: Location, part: Part) -> list[bytes]:
    """Read the lines of a part, without a signature.

    Raises `DataError` if its bytes are not those that were planned.
    """
    with location.open() as file:
        file.seek(part.offset)
        data = file.read(part.size)
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise DataError(f"{location.shown}: changed after this run began")
    return BytesIO(data.removeprefix(SIGNATURE if part.offset == 0 else b"")).readlines()


def decoded(data: bytes) -> tuple[str, str | None]:
    """Return text, with U+FFFD for bytes that are not UTF-8, and what is wrong with it."""
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        byte = data[error.start]
        return data.decode("utf-8", "replace"), f"is not UTF-8 (byte 0x{byte:02x})"
