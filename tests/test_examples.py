"""The labelled example has all four labels of the built-in task and no problems."""

from pathlib import Path

from command_line import run_ok

NEWS = Path(__file__).parent.parent / "examples" / "news.conll"


def test_data_check_accepts_the_labelled_example():
    printed = run_ok("data", "check", NEWS, "--task", "conll2003")
    assert "no problems, no warnings" in printed
    for label in ("PER", "ORG", "LOC", "MISC"):
        assert label in printed
