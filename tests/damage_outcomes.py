"""What a run on a damaged file may end in, and how to tell."""

import os
import re
import signal
from collections import Counter

_QUIET = re.compile(r"(error|warning|note): |[\w ]+: (\d+%|at work)|[✓✗–] |  [^ ]|Making |$")
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")
FAILURES = (
    *("traceback", "abort", "hang", "memory", "leftover", "escape", "noise", "accepted", "unclear"),
)
OUTCOMES = ("ok", "error", *FAILURES)


def judge(status: int, said: str, complained: str, must_fail: bool) -> tuple[str, str]:
    """What a run was, and why."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL:
            return "memory", "killed by the system"
        return "abort", f"{signal.Signals(number).name} at {_last_frame(complained)}"
    if "Traceback (most recent call last)" in complained:
        return "traceback", f"{_last_line(complained)} at {_last_frame(complained)}"
    code = os.WEXITSTATUS(status)
    if match := _CONTROLS.search(said + complained):
        line = next(x for x in (said + complained).split("\n") if _CONTROLS.search(x))
        return "escape", f"{match[0]!r} in {re.sub('[0-9]+', '0', line[:30])!r}"
    strange = [line for line in complained.split("\n") if not _QUIET.match(line)]
    if strange:
        return "noise", strange[0][:100]
    if code == 0:
        return ("accepted", "exit code 0") if must_fail else ("ok", "")
    errors = [line for line in complained.split("\n") if line.startswith("error: ")]
    table = "✗" in said or "problem" in said
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
    """The innermost line of ours in a traceback, or in faulthandler's, whose order is turned."""
    frames = re.findall(r'File "[^"]*?/((?:ner_edge/)?\w+/\w+\.py)", line (\d+)', text)
    ours = [f"{path}:{line}" for path, line in frames if _is_ours(path)]
    if not ours:
        return "?"
    return ours[0] if "most recent call first" in text and "Traceback" not in text else ours[-1]


def _is_ours(path: str) -> bool:
    folder = path.split("/")[-2]
    return folder in ("ner_edge", "train", "export", "runtime", "eval")


def table(results: Counter[tuple[str, str, str]]) -> str:
    """Counts by family, command and outcome, as lines."""
    rows = sorted({key[:2] for key in results})
    shown = [outcome for outcome in OUTCOMES if any(key[2] == outcome for key in results)]
    lines = [f"{'family':<10}{'command':<20}" + "".join(f"{outcome:>11}" for outcome in shown)]
    for row in rows:
        counts = (results[(*row, outcome)] for outcome in shown)
        lines.append(
            f"{row[0]:<10}{row[1]:<20}" + "".join(f"{count or '':>11}" for count in counts)
        )
    return "\n".join(lines)
