"""The vote of several models: what more than half of them say."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.errors import DataError
from ner_edge.labelled import read_labelled
from ner_edge.vote import voted

TEXT = "Ada left London and York"


def write(folder: Path, *answers: list[tuple[int, int, str]], text: str = TEXT) -> list[Path]:
    files = [folder / f"{number}.jsonl" for number in range(len(answers))]
    for file, entities in zip(files, answers, strict=True):
        file.write_text(json.dumps({"text": text, "entities": entities}) + "\n")
    return files


def entities(files: list[Path]) -> list[list]:
    (line,) = voted(files)
    return json.loads(line)["entities"]


def test_more_than_half_decide(tmp_path: Path):
    ada, london, york = (0, 3, "PER"), (9, 15, "LOC"), (20, 24, "LOC")
    other = (20, 24, "ORG")
    files = write(tmp_path, [ada, london, york], [ada, other], [london, (0, 8, "PER"), york])
    assert entities(files) == [list(ada), list(london), list(york)]
    assert entities(files[:2]) == [list(ada)]  # a draw is no majority


def test_the_outcome_is_labelled_data(tmp_path: Path):
    files = write(tmp_path, *[[(0, 3, "PER")]] * 3)
    voted_file = tmp_path / "voted.jsonl"
    voted_file.write_text("\n".join(voted(files)))
    (sentence,) = read_labelled(voted_file)
    assert sentence.text == TEXT
    assert sentence.spans == [(0, 1, "PER")]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6).map(sorted), min_size=1, max_size=5))
def test_no_two_overlap(tmp_path_factory, cuts: list[list[int]]):
    """Whatever the models say, if only none of them contradicts itself."""
    answers = [[(a, b, "PER") for a, b in pairwise(sorted(set(ends)))] for ends in cuts]
    found = entities(write(tmp_path_factory.mktemp("voices"), *answers))
    assert all(first[1] <= second[0] for first, second in pairwise(found))


def test_other_texts_and_bad_lines_are_named(tmp_path: Path):
    one, two = write(tmp_path, [], [])
    two.write_text('{"text": "Other", "entities": []}\n')
    with pytest.raises(DataError, match=r"1\.jsonl: holds other texts than .*0\.jsonl"):
        list(voted([one, two]))
    two.write_text("{}\n")
    with pytest.raises(DataError, match=r"1\.jsonl:1: "):
        list(voted([one, two]))
