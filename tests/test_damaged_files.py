"""Every command ends in success or one clear line on damaged files: a fixed sample of what
`scripts/fuzz-files` tries."""

import subprocess
import sys
from pathlib import Path

import pytest
from damage import cases
from damage_bytes import BLIND
from damage_families import FAMILIES
from damage_outcomes import FAILURES
from damage_places import PLACES
from damage_runs import run_cases
from damage_seen import SEEN

SEARCHED = 1000  # cases, to find one of each kind of damage

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="memory is read from /proc"
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage") / "inputs"
    program = Path(__file__).parent / "damage_inputs.py"
    subprocess.run([sys.executable, program, folder], check=True, stderr=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def results(inputs):
    """Results for undamaged files, for damage that once failed, and for one case of each kind."""
    first_of_kind: dict[str, int] = {}
    for case in cases(inputs, 0, SEARCHED):
        first_of_kind.setdefault(case.kind, case.number)
    numbers = {*range(-len(FAMILIES), len(SEEN)), *first_of_kind.values()}
    return list(run_cases(inputs, 0, sorted(numbers)))


def test_no_run_on_a_damaged_file_ends_badly(results):
    bad = [result for result in results if result.outcome in FAILURES]
    assert not bad, "\n".join(
        f"case {r.number}: {r.command}: {r.outcome}, {r.reason} ({r.kind} of {r.what})" for r in bad
    )


def test_whole_files_are_accepted(results):
    refused = [(r.family, r.command) for r in results if r.kind == "whole" and r.outcome != "ok"]
    no_models = [("lora", name) for name in ("export --base", "tag", "verify")]
    assert sorted(refused) == sorted([*no_models, ("model", "train --recover")])


def test_every_kind_of_damage_is_tried(results):
    kinds = [*BLIND, *PLACES]
    for family in FAMILIES.values():
        for of_file in family.files.values():
            kinds += of_file
    missing = {kind.__name__ for kind in kinds} - {result.kind for result in results}
    assert not missing
