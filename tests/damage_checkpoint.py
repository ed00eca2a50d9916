"""Damage to a checkpoint of torch, a zip of a pickle and the bytes of tensors.

The checksums in the zip stay right, so that a reader goes on to the contents.
"""

import io
import zipfile
from random import Random

from damage_bytes import BLIND, Mutator, changing

Entries = dict[str, bytes]
_SYSTEM = b"cos\nsystem\n(S'true'\ntR."
_PICKLES = (
    *(b"", b".", b"N.", b"]q\0.", b"}q\0.", b"(lp0\n.", b"\x80\x02K\x01.", b"\x80\xff."),
    _SYSTEM,
)


def _entries(data: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(entries: Entries) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


on_zip = changing(_entries, _zipped)


@on_zip
def zip_entry(source: Random, entries: Entries) -> str:
    """Damage the bytes of an entry."""
    name = source.choice(list(entries))
    kind = source.choice(BLIND)
    entries[name], what = kind(source, entries[name])
    return f"{name}: {kind.__name__} of {what}"


@on_zip
def zip_names(source: Random, entries: Entries) -> str:
    """Remove or rename an entry."""
    name = source.choice(list(entries))
    content = entries.pop(name)
    new = source.choice((None, f"x/{name}", f"../{name}", "\x1b[2J", name + "0"))
    if new is not None:
        entries[new] = content
    return f"{name} -> {new!r}"


@on_zip
def pickled(source: Random, entries: Entries) -> str:
    """Replace the pickle with another object, a truncated one, or a program."""
    name = next(name for name in entries if name.endswith("data.pkl"))
    entries[name] = source.choice((*_PICKLES, _SYSTEM))
    return repr(entries[name])


@on_zip
def pickled_text(source: Random, entries: Entries) -> str:
    """Reverse a text in the pickle."""
    name = next(name for name in entries if name.endswith("data.pkl"))
    texts = (b"adapter", b"optimizer", b"settings", b"state", b"FloatStorage", b"step", b"cpu")
    old = source.choice([text for text in texts if text in entries[name]])
    entries[name] = entries[name].replace(old, bytes(reversed(old)))
    return old.decode()


CHECKPOINT_KINDS: list[Mutator] = [zip_entry, zip_entry, zip_names, pickled, pickled_text]
