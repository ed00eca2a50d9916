"""Train the runs of an unpacked trial, one after another or several at a time, each within its
share of the time.

Each runs in a process of its own, so that one that fails or hangs costs the others nothing; but
several at a time share the memory of the GPU. Writes an adapter folder per run, and scores.json
with the F1 of each run on each dev file.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WORK = Path(__file__).resolve().parent.parent
TRAINING = 0.8  # of a run's time; the rest is for loading, and for the dev files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    trial = json.loads((WORK / "trial.json").read_text())
    if options.one is not None:
        (run,) = (run for run in trial["runs"] if run["name"] == options.one)
        return train(trial, run, options.out / run["name"], options.deadline)
    end = time.monotonic() + 60 * options.minutes
    return train_all(trial, options.out, end, options.together)


def train_all(trial: dict[str, Any], out: Path, end: float, together: int = 1) -> int:
    """Train every run, `together` of them at a time; return 0 if all of them have scores."""
    runs = trial["runs"]
    out.mkdir(parents=True, exist_ok=True)

    def one(number: int) -> dict[str, Any]:
        run = runs[number]
        started = time.monotonic()
        turns = -(-(len(runs) - number) // together)  # still to come, this one included
        share = max(0.0, end - started) / turns
        command = [sys.executable, __file__, "--out", str(out), "--minutes", "0"]
        command += ["--one", run["name"], "--deadline", str(started + TRAINING * share)]
        print(f"{run['name']}: at most {share:.0f} s", flush=True)
        problem = _run(command, out / f"{run['name']}.log", share)
        took = round(time.monotonic() - started, 1)
        outcome = _outcome(out / run["name"], trial["dev_names"], problem)
        return {"name": run["name"], "seconds": took, **outcome}

    scores: list[dict[str, Any]] = []
    with ThreadPoolExecutor(together) as pool:
        for score in pool.map(one, range(len(runs))):
            scores.append(score)
            (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    _print(scores)
    return int(any(score["error"] for score in scores))


def _run(command: list[str], log: Path, seconds: float) -> str | None:
    """Run a command with its output in a log; return what went wrong."""
    with log.open("w") as stream:
        try:
            code = subprocess.run(
                command, stdout=stream, stderr=subprocess.STDOUT, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return "out of time"
    if code == 0:
        return None
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with code {code}"


def _outcome(folder: Path, dev: list[str], problem: str | None) -> dict[str, Any]:
    record = folder / "training_settings.json"
    if problem or not record.exists():
        return {"error": problem or "left no record", "f1": {}, "mean": None}
    saved = json.loads(record.read_text())
    return {
        "error": None,
        "steps": saved["steps"],
        "steps_planned": saved["steps_planned"],
        "f1": {name: file["f1"] for name, file in zip(dev, saved["dev"], strict=True)},
        "mean": saved["dev_f1"],
    }


def _print(scores: list[dict[str, Any]]) -> None:
    width = max(len(score["name"]) for score in scores)
    for score in scores:
        f1 = ", ".join(f"{file} {value:.2f}" for file, value in score["f1"].items())
        steps = f"{score.get('steps')} of {score.get('steps_planned')} steps"
        mean = f", mean {score['mean']:.2f}" if score["mean"] is not None else ""
        text = score["error"] or f"{steps}; {f1}{mean}"
        print(f"{score['name']:<{width}}  {score['seconds']:6.1f} s  {text}")


def train(trial: dict[str, Any], run: dict[str, Any], out: Path, deadline: float) -> int:
    """Train one run until it is done, or until the deadline in seconds of `time.monotonic`."""
    from ner_edge.errors import NerEdgeError
    from ner_edge.task import Task
    from ner_edge.train.run import run_training
    from ner_edge.train.settings import TrainSettings

    def update(
        done: float, total: float | None = None, *, label: str | None = None, note: str = ""
    ) -> None:
        print(f"{label}: {done:g} of {total:g}  {note}", flush=True)

    base = WORK / trial["base"]
    try:
        run_training(
            str(base),
            data_files(run["data"]),
            data_files(trial["dev"]),
            out,
            Task(**trial["task"]),
            TrainSettings(**run["settings"]),
            attribution=run["attribution"],
            deadline=deadline,
            say=print,
            update=update,
        )
    except NerEdgeError as error:
        print(f"error: {error}")
        return error.exit_code
    finally:
        name_base(out, str(base), trial["base_name"])
    return 0


def name_base(folder: Path, packed: str, name: str) -> None:
    """Name the base in the files of an adapter as it was named when the trial was packed."""
    for file in ("adapter_config.json", "training_settings.json"):
        path = folder / file
        if path.exists():
            path.write_text(path.read_text().replace(json.dumps(packed), json.dumps(name)))


def data_files(records: list[dict[str, Any]]) -> list[Any]:
    """Return the unpacked files as `DataFile`s."""
    from ner_edge.data.formats.columns import Columns
    from ner_edge.train.data import DataFile

    return [
        DataFile(
            WORK / record["path"],
            record["weight"],
            Columns(*record["columns"]) if record["columns"] else None,
        )
        for record in records
    ]


if __name__ == "__main__":
    sys.exit(main())
