"""Join the parts beside this file, check and unpack them, then train the runs that they hold.

With --measure it measures the training speed of a 7B shape instead. It needs only Python; what it
starts needs torch, transformers and peft. Written by scripts/gpu-trial.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Parts(io.RawIOBase):
    """The joined parts as one stream; each is checked before it is read."""

    def __init__(self, parts: list[dict[str, str]]) -> None:
        self._chunks = _checked(parts)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._chunks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _checked(parts: list[dict[str, str]]) -> Iterator[bytes]:
    for part in parts:
        path = HERE / part["name"]
        try:
            data = path.read_bytes()
        except OSError as error:
            sys.exit(f"error: {path}: cannot be read ({error.strerror}); copy all parts here")
        if hashlib.sha256(data).hexdigest() != part["sha256"]:
            sys.exit(f"error: {path}: has another hash than when it was packed; copy it again")
        yield data


def unpack(work: Path) -> Path:
    """Unpack the joined parts into a folder of their own in `work`, unless they are there."""
    listing = HERE / "parts.json"
    if not listing.exists():
        sys.exit(f"error: {listing}: no such file; copy the whole folder here")
    text = listing.read_bytes()
    parts = json.loads(text)
    folder = work / hashlib.sha256(text).hexdigest()[:16]
    done = folder / "unpacked"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BufferedReader(Parts(parts), 1 << 20), mode="r|") as archive:
        archive.extractall(folder, filter="data")
    done.touch()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results")
    parser.add_argument("--minutes", type=float, default=10, help="for all runs together")
    parser.add_argument("--together", type=int, default=1, help="runs at a time (1)")
    parser.add_argument("--measure", action="store_true", help="measure the training speed")
    parser.add_argument("--shape", default="7b", help="of the model to measure: 7b or tiny")
    parser.add_argument("--steps", type=int, default=10, help="training steps to measure")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder to unpack into")
    options = parser.parse_args()
    if options.together < 1:
        parser.error("--together must be at least 1")
    folder = unpack(options.work)
    script = "trial_measure.py" if options.measure else "trial_runs.py"
    command = [sys.executable, str(folder / "scripts" / script), "--out", str(options.out)]
    if options.measure:
        own = ["--shape", options.shape, "--steps", str(options.steps)]
    else:
        own = ["--minutes", str(options.minutes), "--together", str(options.together)]
    # Carried packages first: they are of the versions that the code was tested with.
    search = [str(folder / "code"), str(folder / "site")]
    if existing := os.environ.get("PYTHONPATH"):
        search.append(existing)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(search), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([*command, *own], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
