"""The labelled example has no problems, and every script prints what it should."""

import runpy
from pathlib import Path

import pytest
from command_line import run_ok

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
OUTPUT = {
    "asyncio_tasks.py": """\
Where did Ada Lovelace live? Ada Lovelace
Is Oslo larger than Kiel? Oslo, Kiel
What time is it? -
""",
    "datasets_map.py": """\
Ada Lovelace lives in London. ['Ada Lovelace', 'London']
Nobody came. []
""",
    "label_studio.py": """\
[{"start": 0, "end": 12, "labels": ["PER"]}]
""",
    "pandas_column.py": """\
  label          text  start  end
0   PER  Ada Lovelace      0   12
0   LOC        London     22   28
2   PER  Grace Hopper      5   17
""",
    "presidio_recognizer.py": """\
PERSON: Ada Lovelace
LOCATION: London
PHONE_NUMBER: 212-555-5555
<PERSON> lives in <LOCATION>. Her phone number is <PHONE_NUMBER>.
""",
    "spacy_pipeline.py": """\
Ada Lovelace wrote to Charles Babbage.
  PER  1.0  Ada Lovelace
  PER  1.0  Charles Babbage
She lived in London.
  LOC  1.0  London
The ferry from Oslo to Kiel was late.
  LOC  1.0  Oslo
  LOC  1.0  Kiel
""",
}


def test_data_check_accepts_the_labelled_example():
    printed = run_ok("data", "check", EXAMPLES / "news.conll", "--task", "conll2003")
    assert "no problems, no warnings" in printed
    for label in ("PER", "ORG", "LOC", "MISC"):
        assert label in printed


@pytest.mark.model
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.usefixtures("base_gguf")
def test_a_script_prints_what_it_should(script, capsys):
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert capsys.readouterr().out == OUTPUT[script]


def test_scripts_are_short_and_listed():
    for script in SCRIPTS:
        assert len((EXAMPLES / script).read_text().splitlines()) < 25, script
        assert f"| `{script}` |" in (EXAMPLES / "README.md").read_text()
