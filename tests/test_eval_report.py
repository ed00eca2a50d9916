"""The tables to the letter, and a JSON report that holds every number in them."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ner_edge.data.corpus import Sentence
from ner_edge.errors import NerEdgeError
from ner_edge.eval.calibration import calibration
from ner_edge.eval.comparison import BaselineDifference, Comparison
from ner_edge.eval.cost import Cost
from ner_edge.eval.gold import Gold
from ner_edge.eval.metrics import score_spans
from ner_edge.eval.report.html import page
from ner_edge.eval.report.json_report import to_json, write_json
from ner_edge.eval.report.published import RESULTS
from ner_edge.eval.report.rendering import markdown, print_report
from ner_edge.eval.result import ModelResult
from ner_edge.eval.unconstrained import judge_outputs
from ner_edge.spans import ScoredSpan, Span

GOLD = Gold(
    Path("folder/corpus.conll"),
    [
        Sentence(
            ["Mina", "Okafor", "left", "for", "Lisbon"], [Span(0, 2, "PER"), Span(4, 5, "LOC")]
        ),
        Sentence(["At", "Brightwater", "Energy", "now"], [Span(1, 3, "ORG")]),
        Sentence(["Rain", "fell", "again"]),
        Sentence(["Bantu", "teacher", "Mina"], [Span(0, 1, "MISC"), Span(2, 3, "PER")]),
    ],
    docstart_lines=1,
)
FOUND = [
    [Span(0, 2, "PER"), Span(4, 5, "LOC")],
    [Span(1, 2, "ORG")],
    [Span(0, 1, "LOC")],
    [Span(0, 1, "ORG")],
]


def result(name, predictions, size_bytes, bits_per_weight, seconds):
    return ModelResult(
        name=name,
        path=Path("models") / name,
        decoder="copy",
        metrics=score_spans(GOLD.spans, predictions, GOLD.lengths),
        predictions=predictions,
        calibration=calibration(
            GOLD.spans,
            [
                [ScoredSpan(span.start, span.end, span.label, 0.9) for span in spans]
                for spans in predictions
            ],
        ),
        size_bytes=size_bytes,
        bits_per_weight=bits_per_weight,
        seconds=seconds,
        notes=[],
        hardware="2 threads",
    )


BF16 = result("bf16", GOLD.spans, 269_060_000, None, 3.2)
Q4 = result("q4_k_m", FOUND, 105_449_999, 4.8949, 1.6)
ONE = Comparison(GOLD, [Q4], None, {})
TWO = Comparison(
    GOLD,
    [BF16, Q4],
    "bf16",
    {
        "bf16": BaselineDifference(0.0, 0.0, 0.0, 0, None, {"PER": 0.0}),
        "q4_k_m": BaselineDifference(-60.0, -81.254, 2.5, 3, "undecided", {"PER": -33.25}),
    },
)

Q4_TABLES = """\
**q4_k_m: seqeval, strict, IOB2 (%)**

| Entity | Precision | Recall | F1 | Support |
| --- | ---: | ---: | ---: | ---: |
| LOC | 50.00 | 100.00 | 66.67 | 1 |
| MISC | 0.00 | 0.00 | 0.00 | 1 |
| ORG | 0.00 | 0.00 | 0.00 | 1 |
| PER | 100.00 | 50.00 | 66.67 | 2 |
| micro avg | 40.00 | 40.00 | 40.00 | 5 |

**q4_k_m: nervaluate (%)**

| Scenario | Precision | Recall | F1 |
| --- | ---: | ---: | ---: |
| strict | 40.00 | 40.00 | 40.00 |
| exact | 60.00 | 60.00 | 60.00 |
| partial | 70.00 | 70.00 | 70.00 |
| ent_type | 60.00 | 60.00 | 60.00 |

"""
COUNTS = (
    "corpus.conll: 4 sentences, 15 tokens (5 and 16 with -DOCSTART- lines), 5 entities; "
    "decoder: copy."
)
ECE = "ECE: expected calibration error of the entities' scores, in percentage points."
SPEED = "Sentences/s: on 2 threads."
ONE_MODEL = f"""\
{Q4_TABLES}\
**Comparison**

| Model | Size (MB) | Bits/weight | F1 | ECE (%) | Sentences/s |
| --- | ---: | ---: | ---: | ---: | ---: |
| q4_k_m | 105.4 | 4.89 | 40.00 | 50.00 | 2.50 |

{COUNTS}

{ECE}

{SPEED}
"""
TWO_MODELS_END = f"""\
{Q4_TABLES}\
**Comparison**

| Model | Size (MB) | Bits/weight | F1 | ΔF1 [95 % CI] | Flips | ECE (%) | Sentences/s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| bf16 | 269.1 | - | 100.00 | baseline | - | 10.00 | 1.25 |
| q4_k_m | 105.4 | 4.89 | 40.00 | -60.00 [-81.25, +2.50] | 3 | 50.00 | 2.50 |

{COUNTS}

{ECE}

ΔF1: percentage points against bf16 on the same sentences, with a paired bootstrap interval. \
Flips: sentences whose entities differ.

Verdicts (equivalent: within ±0.5): undecided: q4_k_m.

{SPEED}
"""


def shown(comparison, width=100):
    written = StringIO()
    print_report(comparison, Console(file=written, width=width, color_system=None))
    return written.getvalue()


def numbers(text):
    """The numbers in table cells, as written."""
    cells = re.findall(r"(?<=[\s\[])[+-]?\d+(?:\.\d+)?(?=[\s,\]])", text)
    return {float(cell) for cell in cells}


def test_markdown_of_one_model_has_no_delta_columns():
    assert markdown(ONE) == ONE_MODEL


def test_markdown_of_two_models():
    text = markdown(TWO)
    assert text.startswith("**bf16: seqeval, strict, IOB2 (%)**\n")
    assert text.endswith(TWO_MODELS_END)


def test_a_pipe_in_a_name_does_not_break_the_markdown_row():
    text = markdown(replace(ONE, results=[replace(Q4, name="a|b")]))
    assert "| a\\|b | 105.4 |" in text


def test_the_terminal_shows_the_same_cells():
    text = shown(TWO)
    for line in TWO_MODELS_END.splitlines():
        if line.startswith("| ") and "---" not in line and "/" not in line:
            cells = line.strip("| ").split(" | ")
            assert re.search(r"\s+".join(map(re.escape, cells)), text), line
    assert COUNTS in text


def test_the_terminal_does_not_read_names_as_markup():
    text = shown(replace(ONE, results=[replace(Q4, name="[bold]q4[/x]")]))
    assert "[bold]q4[/x]: seqeval" in text


def test_a_narrow_terminal_breaks_the_name_and_no_number():
    wide = replace(Q4, name="a-very-long-model-name-" * 3)
    text = shown(
        replace(
            TWO,
            results=[BF16, wide],
            differences=dict.fromkeys(
                ("bf16", wide.name), BaselineDifference(-60.0, -81.254, 2.5, 3, "worse", {})
            ),
        ),
        width=80,
    )
    assert "-60.00 [-81.25, +2.50]" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_json_holds_every_number_of_the_tables():
    report = to_json(TWO)

    def flat(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [number for part in value for number in flat(part)]
        return [value] if isinstance(value, int | float) else []

    held = flat(report) + [model["size_bytes"] / 1e6 for model in report["models"]]
    rounded = {round(number, digits) for number in held for digits in (0, 1, 2)}
    rows = "\n".join(
        line
        for line in markdown(TWO).splitlines()
        if line.startswith("| ") and "95 % CI" not in line
    )
    assert len(numbers(rows)) > 15
    assert numbers(rows) <= rounded


def test_json_keys_and_units():
    report = json.loads(json.dumps(to_json(TWO)))
    assert {key: report[key] for key in report if key != "models"} == {
        "data": "folder/corpus.conll",
        "sentences": 4,
        "docstart_lines": 1,
        "tokens": 15,
        "entities": 5,
        "baseline": "bf16",
        "published": [],
    }
    q4 = report["models"][1]
    assert q4["f1"] == pytest.approx(40)  # percent
    assert q4["f1"] == q4["micro"]["f1"] == pytest.approx(q4["nervaluate"]["strict"]["f1"])
    assert q4["delta_f1_ci"] == [-81.254, 2.5]
    expected = {
        "name": "q4_k_m",
        "path": "models/q4_k_m",
        "decoder": "copy",
        "delta_f1": -60.0,
        "flips": 3,
        "size_bytes": 105_449_999,
        "bits_per_weight": 4.8949,
        "sentences_per_second": 2.5,
        "misaligned": 0,
    }
    assert {key: q4[key] for key in expected} == expected
    assert list(q4["per_label"]) == ["LOC", "MISC", "ORG", "PER"]
    assert set(q4["per_label"]["PER"]) == {"precision", "recall", "f1", "support"}
    assert q4["nervaluate"]["partial"]["f1"] == pytest.approx(70)


def test_json_of_one_model_has_no_delta():
    (model,) = to_json(ONE)["models"]
    assert not {"delta_f1", "delta_f1_ci", "flips"} & set(model)


def test_json_goes_to_a_file_or_to_stdout(tmp_path, capsys):
    write_json(to_json(TWO), "-")
    write_json(to_json(TWO), str(tmp_path / "report.json"))
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == to_json(TWO)
    assert capsys.readouterr().out == text
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_is_one_clear_line(tmp_path):
    with pytest.raises(NerEdgeError, match=r"report\.json"):
        write_json(to_json(TWO), str(tmp_path / "no" / "report.json"))


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(NerEdgeError):
        write_json(to_json(TWO), str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def rows(text, title):
    """The rows of one Markdown table."""
    table = text.partition(f"**{title}**\n\n")[2].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


# Each sentence copied, but for one that lost its first word and its last bracket.
FREE = replace(
    BF16,
    name="torch",
    calibration=None,
    faults=judge_outputs(
        GOLD.sentences,
        [[-1, 1, "|", "PER]", 2, 3, -5, "|", "LOC]"], [-2, 2, 3], [0, 1, 2], [0, 1, 2]],
        ["PER", "LOC", "ORG", "MISC"],
    ),
)


def test_unconstrained_outputs_stand_beside_constrained_ones():
    comparison = replace(TWO, results=[replace(FREE, name="bf16"), Q4])
    text = markdown(comparison)
    assert rows(text, "Output") == [
        ["Model", "F1", "Lenient F1", "Verbatim (%)", "Malformed", "Misaligned"],
        ["---", *["---:"] * 5],
        ["bf16", "100.00", "57.14", "75.00", "1", "1"],
        ["q4_k_m", "40.00", "40.00", "100.00", "0", "0"],
    ]
    compared = rows(text, "Comparison")
    assert compared[2][compared[0].index("ECE (%)")] == "-"
    assert "Lenient F1:" in text
    first, second = to_json(comparison)["models"]
    assert (first["faults"]["verbatim"], first["misaligned"], first["calibration"]) == (3, 1, None)
    assert second["faults"] is None
    assert "Verbatim (%)" in page(comparison)
    assert "Output" not in markdown(TWO)


def test_costs_are_columns_if_any_was_measured():
    measured = replace(Q4, cost=Cost(359_400_000, 314.4))
    unknown = replace(BF16, cost=Cost(None, 20.6))
    header, _, *lines = rows(markdown(replace(TWO, results=[unknown, measured])), "Comparison")
    assert header[-3:] == ["Peak memory (MB)", "Prompt tokens/s", "Sentences/s"]
    assert [line[-3:] for line in lines] == [["-", "21", "1.25"], ["359", "314", "2.50"]]
    (_, _, line) = rows(markdown(replace(ONE, results=[replace(Q4, cost=None)])), "Comparison")
    assert len(line) == 6


def test_a_speed_that_is_not_known_has_no_hardware():
    text = markdown(replace(TWO, results=[BF16, replace(Q4, seconds=None, hardware="9 threads")]))
    assert rows(text, "Comparison")[-1][-1] == "-"
    assert text.endswith(SPEED + "\n")


def test_a_table_too_wide_for_the_terminal_goes_on_below():
    comparison = replace(
        TWO, results=[replace(r, cost=Cost(359_400_000, 314.4)) for r in (BF16, Q4)]
    )
    text = shown(comparison, width=80)
    assert "Comparison, continued" in text
    assert max(map(len, text.splitlines())) <= 80
    for cell in ("-60.00 [-81.25, +2.50]", "359", "314", "2.50"):
        assert cell in text
    assert "continued" not in shown(comparison, width=120)


def of_size(row):
    """A gold standard with the counts of a published one, and nothing to read."""
    first = Sentence(["a"] * (row.tokens - row.sentences + 1), [Span(0, 1, "PER")] * row.entities)
    one = Sentence(["a"])
    return Gold(Path("data"), [first, *[one] * (row.sentences - 1)], docstart_lines=0)


@pytest.mark.parametrize("row", RESULTS, ids=lambda row: row.data)
def test_published_figures_are_quoted_for_the_data_they_are_of(row):
    comparison = replace(TWO, gold=of_size(row), results=[replace(FREE, name="bf16"), Q4])
    text = markdown(comparison)
    name = "Qwen2.5-7B LoRA (quoted, not measured)"
    assert rows(text, "Comparison")[-1] == [name, "-", "-", f"{row.f1:.2f}", *["-"] * 4]
    assert rows(text, "Output")[-1] == [name, f"{row.f1:.2f}", *["-"] * 4]
    assert f"{name}: strict micro F1 on {row.data}, https://" in text
    (quoted,) = to_json(comparison)["published"]
    assert quoted["scenarios"]["exact"] == row.scenarios["exact"]
    shorter = replace(comparison, gold=replace(comparison.gold, sentences=[Sentence(["a"])]))
    assert "quoted" not in markdown(shorter)


@pytest.mark.parametrize("row", RESULTS, ids=lambda row: row.data)
def test_published_figures_agree_with_each_other(row):
    assert row.scenarios["strict"] == (row.precision, row.recall, row.f1)
    for precision, recall, f1 in row.scenarios.values():
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=0.011)
