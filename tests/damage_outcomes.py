"""How a run on a damaged file ended."""

import os
import re
import signal
from collections import Counter

_QUIET = re.compile(r"(error|warning|note): |[\w ]+: (\d+%|at work)|[✓✗–] |  [^ ]|Making |$")
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")
# A line of this project: torch and others have folders named export and train, too.
_FRAME = re.compile(
    r'File "(?![^"]*/site-packages/(?!ner_edge/))'
    r'[^"]*?/((?:ner_edge|train|export|runtime|eval)/[\w/]+\.py)", line (\d+)'
)
FAILURES = (
    *("traceback", "abort", "hang", "memory", "leftover", "escape", "noise", "accepted", "unclear"),
)
OUTCOMES = ("ok", "error", *FAILURES)


def judge(status: int, stdout: str, stderr: str, must_fail: bool) -> tuple[str, str]:
    """Return the outcome of a run and, for a failure, the reason.

    `status` is what wait(2) returned; `must_fail` says that success would be wrong.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL:
            return "memory", "killed by the system"
        return "abort", f"{signal.Signals(number).name} at {_last_frame(stderr)}"
    if "Traceback (most recent call last)" in stderr:
        return "traceback", f"{_last_line(stderr)} at {_last_frame(stderr)}"
    code = os.WEXITSTATUS(status)
    if match := _CONTROLS.search(stdout + stderr):
        line = next(x for x in (stdout + stderr).split("\n") if _CONTROLS.search(x))
        return "escape", f"{match[0]!r} in {re.sub('[0-9]+', '0', line[:30])!r}"
    strange = [line for line in stderr.split("\n") if not _QUIET.match(line)]
    if strange:
        return "noise", strange[0][:100]
    if code == 0:
        return ("accepted", "exit code 0") if must_fail else ("ok", "")
    errors = [line for line in stderr.split("\n") if line.startswith("error: ")]
    table = "✗" in stdout or "problem" in stdout
    if code in (1, 2) and (len(errors) == 1 or (not errors and table)):
        return "error", ""
    return "unclear", f"exit code {code}, {len(errors)} lines of error"


def _last_line(text: str) -> str:
    lines = [
        line
        for line in text.split("\n")
        if re.match(r"[\w.]+(Error|Exception|Warning|\w+): |\w+Error$", line)
    ]
    return re.sub(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"", "…", lines[-1] if lines else "?")[:120]


def _last_frame(text: str) -> str:
    """Return the innermost line of this project in a traceback by Python or by faulthandler.

    faulthandler prints the innermost line first.
    """
    frames = [f"{path}:{line}" for path, line in _FRAME.findall(text)]
    if not frames:
        return "?"
    return frames[0] if "most recent call first" in text and "Traceback" not in text else frames[-1]


def table(results: Counter[tuple[str, str, str]]) -> str:
    """Return the counts by family, command and outcome as aligned text."""
    rows = sorted({key[:2] for key in results})
    shown = [outcome for outcome in OUTCOMES if any(key[2] == outcome for key in results)]
    lines = [f"{'family':<10}{'command':<20}" + "".join(f"{outcome:>11}" for outcome in shown)]
    for row in rows:
        counts = (results[(*row, outcome)] for outcome in shown)
        lines.append(
            f"{row[0]:<10}{row[1]:<20}" + "".join(f"{count or '':>11}" for count in counts)
        )
    return "\n".join(lines)
