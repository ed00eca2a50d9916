"""Damage to a checkpoint of torch: a zip with a pickle and the tensors' bytes.

The checksums in the zip are right, so that what reads it goes on to the contents.
"""

import io
import zipfile
from random import Random

from damage_bytes import BLIND, Mutator

_SYSTEM = b"cos\nsystem\n(S'true'\ntR."
_PICKLES = (
    b"",
    b".",
    b"N.",
    b"]q\0.",
    b"}q\0.",
    b"(lp0\n.",
    b"\x80\x02K\x01.",
    b"\x80\xff.",
    _SYSTEM,
)


def _entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(entries: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


def zip_entry(source: Random, data: bytes) -> tuple[bytes, str]:
    """What one entry holds is damaged blindly."""
    entries = _entries(data)
    name = source.choice(list(entries))
    kind = source.choice(BLIND)
    entries[name], what = kind(source, entries[name])
    return _zipped(entries), f"{name}: {kind.__name__} of {what}"


def zip_names(source: Random, data: bytes) -> tuple[bytes, str]:
    """An entry is missing, or has another name."""
    entries = _entries(data)
    name = source.choice(list(entries))
    content = entries.pop(name)
    new = source.choice((None, f"x/{name}", f"../{name}", "\x1b[2J", name + "0"))
    if new is not None:
        entries[new] = content
    return _zipped(entries), f"{name} -> {new!r}"


def pickled(source: Random, data: bytes) -> tuple[bytes, str]:
    """The pickle is another: of something else, without an end, a program."""
    entries = _entries(data)
    name = next(name for name in entries if name.endswith("data.pkl"))
    entries[name] = source.choice((*_PICKLES, _SYSTEM))
    return _zipped(entries), repr(entries[name])


def pickled_text(source: Random, data: bytes) -> tuple[bytes, str]:
    """A key or text in the pickle is another of the same length."""
    entries = _entries(data)
    name = next(name for name in entries if name.endswith("data.pkl"))
    texts = (b"adapter", b"optimizer", b"settings", b"state", b"FloatStorage", b"step", b"cpu")
    old = source.choice([text for text in texts if text in entries[name]])
    entries[name] = entries[name].replace(old, bytes(reversed(old)))
    return _zipped(entries), old.decode()


CHECKPOINT_KINDS: list[Mutator] = [zip_entry, zip_entry, zip_names, pickled, pickled_text]
