"""Run commands on damaged inputs, each in a process with limits, and report how each ended.

A worker imports what the commands need once, then forks a process for each command, which takes
milliseconds. It starts no thread, since a forked process would wait for it for ever. Linux only:
memory is read from /proc.
"""

import ctypes
import gc
import json
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from io import BytesIO, TextIOWrapper
from pathlib import Path

from damage import Case, Command, make_case
from damage_outcomes import judge

SECONDS = 20.0
BYTES = 2 * 10**9
_LARGEST_FILE = 4 * 10**9  # so that no export fills the disk
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
_BETWEEN_LOOKS = 0.02
_SHOWN = 4000  # characters of output kept
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "GGML_NO_BACKTRACE": "1",
}
# Modules that commands import when they need them: without torch, and with it.
_LIGHT = (
    *("nervaluate", "rich._emoji_codes", "rich.progress", "seqeval.metrics", "tokenizers"),
    *("ner_edge.data.check", "ner_edge.data.report", "ner_edge.eval.evaluator"),
    *("ner_edge.eval.report.destinations", "ner_edge.export.quantize.collect_imatrix"),
    *("ner_edge.export.lora_gguf",),
    *("ner_edge.export.pipeline", "ner_edge.export.verify.verify", "ner_edge.data.formats.table"),
    *("ner_edge.terminal.progress", "ner_edge.runtime.tagger", "ner_edge.data.texts"),
)
_TORCH = (
    *("peft", "torch", "transformers.models.llama.modeling_llama"),
    *("ner_edge.export.verify.parity", "ner_edge.train.run"),
)


@dataclass(frozen=True)
class Result:
    """How one command ended on one case."""

    number: int
    family: str
    kind: str
    what: str
    command: str
    outcome: str
    reason: str
    """Text that is the same for failures of one cause."""
    seconds: float
    megabytes: float
    output: str


def run_cases(inputs: Path, seed: int, numbers: Sequence[int], jobs: int = 2) -> Iterator[Result]:
    """Run all commands of these cases in `jobs` workers, those without torch first."""
    with tempfile.TemporaryDirectory(prefix="damaged-") as work:
        for part in ("light", "torch"):
            yield from _run_part(part, inputs, seed, numbers, jobs, Path(work))


def _run_part(
    part: str, inputs: Path, seed: int, numbers: Sequence[int], jobs: int, work: Path
) -> Iterator[Result]:
    workers = []
    with selectors.DefaultSelector() as ready:
        try:
            for job in range(jobs):
                order = json.dumps([part, str(inputs), seed, list(numbers[job::jobs]), str(work)])
                worker = subprocess.Popen(
                    [sys.executable, __file__],
                    env=os.environ | _ENVIRONMENT | {"NER_EDGE_CACHE": str(work / "cache")},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                workers.append(worker)
                assert worker.stdin is not None
                assert worker.stdout is not None
                with worker.stdin:
                    worker.stdin.write(order)
                ready.register(worker.stdout, selectors.EVENT_READ, worker)
            while ready.get_map():
                for key, _ in ready.select():
                    line = key.data.stdout.readline()
                    if line:
                        yield Result(**json.loads(line))
                    else:
                        ready.unregister(key.data.stdout)
                        if key.data.wait():
                            raise RuntimeError(f"a worker ended with {key.data.returncode}")
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def _work(part: str, inputs: Path, seed: int, numbers: Sequence[int], work: Path) -> None:
    _import(part, inputs)
    for number in numbers:
        case = make_case(inputs, seed, number)
        for command in case.commands:
            if command.uses_torch == (part == "torch"):
                result = run_command(case, command, inputs, work)
                print(json.dumps(asdict(result)), flush=True)


def _import(part: str, inputs: Path) -> None:
    """Import everything that the commands import."""
    import ner_edge.cli.app
    from ner_edge.segment import segment

    for module in _LIGHT:
        import_module(module)
    if part == "torch":
        for module in _TORCH:
            import_module(module)
    with redirect_stdout(TextIOWrapper(BytesIO())), suppress(SystemExit):
        ner_edge.cli.app.main(
            ["info", str(inputs / "model.gguf")]
        )  # typer imports more when it parses
    list(segment("Ada. Zoe."))  # loads the sentence splitter's data
    gc.freeze()


def run_command(case: Case, command: Command, inputs: Path, work: Path) -> Result:
    """Run a command on a case, in a new folder in `work`."""
    folder = Path(tempfile.mkdtemp(prefix=f"{case.number}-", dir=work))
    try:
        case.write(inputs, folder)
        before = _files(folder)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(command.arguments, folder)
        status, peak, broken = _watch(child, started)
        seconds = time.monotonic() - started
        stdout, stderr = (_text(folder / f".{name}") for name in ("stdout", "stderr"))
        # Paths of results are printed as they are, so that other programs can open them.
        lines = [line for line in stdout.split("\n") if not os.path.exists(folder / line)]
        outcome, reason = broken or judge(status, "\n".join(lines), stderr, case.must_fail)
        new = sorted(_files(folder) - before)
        if outcome == "error" and new:
            outcome, reason = "leftover", f"error, but left {', '.join(new)}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    shown = _shorten(stdout) + "\n--- stderr\n" + _shorten(stderr)
    what = case.what.encode("utf-8", "backslashreplace").decode()
    figures = (round(seconds, 3), round(peak / 1e6, 1))
    return Result(
        case.number, case.family, case.kind, what, command.name, outcome, reason, *figures, shown
    )


def _become(arguments: Sequence[str], folder: Path) -> None:
    """Turn this forked process into a fresh one that runs the command; never return."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        os.setsid()
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
        flags = os.O_WRONLY | os.O_CREAT
        for target, name in ((0, os.devnull), (1, ".stdout"), (2, ".stderr")):
            handle = os.open(name, flags if target else os.O_RDONLY, 0o600)
            os.dup2(handle, target)
            os.close(handle)
        sys.stdin = os.fdopen(0, closefd=False)  # not the streams that the parent replaced
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        import faulthandler

        from ner_edge.cli.app import main

        faulthandler.enable(2)
        main(list(arguments))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _watch(child: int, started: float) -> tuple[int, int, tuple[str, str] | None]:
    """Wait for a process, and kill it if it breaks a limit.

    Returns its status, the peak memory of it and its children in bytes, and the outcome and reason
    if it was killed.
    """
    peak, broken, look = 0, None, 0.002
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        held = _memory_of_session(child)
        peak = max(peak, held)
        if held > BYTES:
            broken = "memory", f"more than {BYTES / 1e9:g} GB"
        elif time.monotonic() - started > SECONDS:
            broken = "hang", f"more than {SECONDS:g} s"
        if broken:
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            break
        time.sleep(look)
        look = min(_BETWEEN_LOOKS, look * 1.5)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # processes that it left behind
    peak = max(peak, usage.ru_maxrss * 1024)
    if broken is None and peak > BYTES:
        broken = "memory", f"more than {BYTES / 1e9:g} GB"
    return status, peak, broken


def _memory_of_session(leader: int) -> int:
    """Return the resident bytes of `leader` and all processes that it started."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            fields = _stat(entry.name)
            if fields and int(fields[3]) == leader:
                total += int(fields[21]) * resource.getpagesize()
    return total


def memory_of_process() -> int:
    """Return the resident bytes of this process."""
    return int(_stat("self")[21]) * resource.getpagesize()


def _stat(process: str) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third, or none if the process has ended."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _files(folder: Path) -> set[str]:
    """Return the relative paths of all files that are not hidden."""
    return {
        str(Path(root, name).relative_to(folder))
        for root, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    }


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(1_000_000).decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def _shorten(text: str) -> str:
    if len(text) <= _SHOWN:
        return text
    return f"{text[: _SHOWN // 4]}\n […]\n{text[-3 * _SHOWN // 4 :]}"


if __name__ == "__main__":
    a_part, some_inputs, a_seed, some_numbers, a_folder = json.load(sys.stdin)
    os.nice(10)
    _work(a_part, Path(some_inputs), a_seed, some_numbers, Path(a_folder))
