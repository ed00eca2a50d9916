"""Damaged files of every kind end in success or one clear line: a fixed sample of what
`scripts/fuzz-files` tries."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from damage import FAMILIES, cases
from damage_runs import FAILURES, run_cases

# What real files did to us, by pattern: a case of each is in the sample.
SEEN = [
    r"block_count = 0$",
    r"block_count = 5000$",
    r"expert_count = 8$",
    r"general.alignment = 1$",
    r"general.alignment = 0$",
    r"tensor_type of model.*norm.weight = 2$",
    r"tensor_type of small.*norm.weight = 8$",
    r"model = llama$",
    r"tokens: cut",
    r"token_type: double",
    r"merges: empty",
    r"tokens: extreme",
    r"tensor_shape .*-> \[\]$",
    r"tensor_shape .*, 1, 1\]$",
    r"tensor_offset of model",
    r"own_json: other_value: .*\[\[\[",
    r"own_json: other_value: .*ud800",
    r"own_json: other_document: ",
    r"ner_edge.temperature = b'1e-320'",
    r"rope.freq_base: .* -> nan",
    r"rms_epsilon: .* -> ",
    r"tensor_name .*\\x1b",
    r"general.name -> .*\\x1b",
    r"r = 0$",
    r"rank: 0$",
    r"name = 9999",
    r"(before|after): a\.a\.a\.",
    r"[a-z]+: a0: &a0",
    r"!!int x",
    r"alpha_pattern = \{'\(a\+\)\+\$'",
    r"alpha_pattern = \{'\(x\|x\)\*",
    r"num_hidden_layers = 1000000000$",
    r"passed = 0$",
    r"bytes = 1$",
    r"file = b.gguf$",
    r"task = other$",
    r"sha256 = 000",
    r"offsets of .*: \[-",
    r"offsets of .*: \[0, \d+\]",
    r"offsets of .*: \[9223372036854775808",
    r"names of .*: (base_model|model)\.",
    r"header_json of .*\[\[\[",
]
SEARCHED = 6000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage") / "inputs"
    program = Path(__file__).parent / "damage_inputs.py"
    subprocess.run([sys.executable, program, folder], check=True, stderr=subprocess.DEVNULL)
    return folder


def sample(inputs):
    """Numbers of cases: the first of each kind, and of each pattern in `SEEN`."""
    wanted = dict.fromkeys(SEEN)
    kinds = {}
    for case in cases(inputs, 0, SEARCHED):
        kinds.setdefault(case.kind, case.number)
        text = f"{case.kind} of {case.what}"
        for pattern in [p for p, number in wanted.items() if number is None]:
            if re.search(pattern, text):
                wanted[pattern] = case.number
                break
        if None not in wanted.values() and case.number > SEARCHED / 2:
            break
    assert None not in wanted.values(), [p for p, number in wanted.items() if number is None]
    return sorted({*kinds.values(), *wanted.values()})


def test_no_run_on_a_damaged_file_ends_badly(inputs):
    results = list(run_cases(inputs, 0, sample(inputs)))
    bad = [result for result in results if result.outcome in FAILURES]
    assert not bad, "\n".join(
        f"case {r.number}: {r.command}: {r.outcome}, {r.reason} ({r.kind} of {r.what})" for r in bad
    )
    assert {result.family for result in results} == set(FAMILIES)
    assert sum(result.outcome == "ok" for result in results) > 20


def test_whole_files_are_accepted(inputs):
    results = list(run_cases(inputs, 0, range(-len(FAMILIES), 0)))
    refused = [(r.family, r.command) for r in results if r.outcome != "ok"]
    no_models = [("lora", name) for name in ("export --base", "tag", "verify")]
    assert sorted(refused) == sorted([*no_models, ("model", "train --recover")])
