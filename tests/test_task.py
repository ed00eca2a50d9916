import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.errors import ModelError, UsageError
from ner_edge.prompt import TEMPLATES
from ner_edge.task import TASK_FILE, Task, load_saved_task, load_task

VESSELS = """\
name = "vessels"
template = "chatml-system"
instruction = "Mark each ship."

[labels]
SHIP = "a named ship"
PORT = "a harbour"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vessels.toml"


def test_the_builtin_instruction_is_the_published_one_to_the_letter() -> None:
    """Models were trained on exactly these characters."""
    task = load_task("conll2003")
    digest = hashlib.sha256(task.instruction.encode()).hexdigest()
    assert digest == "5fb2101d3b5702e6dbb1951d7324e1ec633ae2116da08854e785301a68818762"
    assert list(task.labels) == ["ORG", "PER", "LOC", "MISC"]
    assert task.template == "alpaca"


def test_an_unknown_task_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"^no task 'ontonotes'; built in: conll2003, conll2003-short; or give"
    ):
        load_task("ontonotes")


def test_reads_a_users_task(path: Path) -> None:
    path.write_text(VESSELS)
    labels = {"SHIP": "a named ship", "PORT": "a harbour"}
    assert load_task(str(path)) == Task("vessels", labels, "Mark each ship.", "chatml-system")
    path.write_text(VESSELS.replace('template = "chatml-system"\n', ""))
    assert load_task(str(path)).template == "alpaca"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("template =", "prompt =", "unknown field `prompt`"),
        ('name = "vessels"\n', "", "missing required field `name`"),
        ('instruction = "Mark each ship."\n', "", "missing required field `instruction`"),
        ('"vessels"', "3", "Expected `str`, got `int` at `name`"),
        ("[labels]", "[[labels]]", "Expected `object`, got `array` at `labels`"),
        ('"a harbour"', "1", "Expected `str`, got `int` at `labels[...]`"),
        ("PORT", '"POR]T"', "label 'POR]T' must be one printable word without [ ] |"),
        ("PORT", '"POR T"', "label 'POR T' must be one printable word without [ ] |"),
        ("PORT", '"A\\nB"', r"label 'A\nB' must be one printable word without [ ] |"),
        ("PORT", '""', "label '' must be one printable word without [ ] |"),
        ('SHIP = "a named ship"\nPORT = "a harbour"\n', "", "task 'vessels' has no labels"),
        (
            "chatml-system",
            "vicuna",
            "no template 'vicuna'; choose one of plain, alpaca, ",
        ),
        ('"vessels"', "vessels", "Invalid value (at line 1, column 8)"),
    ],
)
def test_a_wrong_task_file_is_refused_in_one_line(
    path: Path, old: str, new: str, problem: str
) -> None:
    assert old in VESSELS
    path.write_text(VESSELS.replace(old, new))
    with pytest.raises(UsageError) as caught:
        Task.from_toml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a task (")
    assert problem in message
    assert "\n" not in message


def test_a_task_of_the_longest_parts_is_saved_and_loaded(tmp_path: Path) -> None:
    labels = {f"{number:0100}": "" for number in range(500)}
    task = Task("n" * 200, labels, "i" * 100_000)
    task.save(tmp_path)
    assert load_saved_task(tmp_path) == task
    assert Task.from_json(task.to_json(), "here") == task


@pytest.mark.parametrize(
    ("part", "value", "problem"),
    [
        ("name", "n" * 201, "201 characters in its name; the limit is 200"),
        (
            "instruction",
            "i" * 100_001,
            "100001 characters in its instruction; the limit is 100000",
        ),
        ("labels", dict.fromkeys(map(str, range(501)), ""), "501 labels; the limit is 500"),
        (
            "labels",
            {"A": "", "L" * 101: ""},
            "101 characters in its longest label; the limit is 100",
        ),
    ],
)
def test_a_task_too_long_to_be_loaded_again_is_refused(
    tmp_path: Path, part: str, value: Any, problem: str
) -> None:
    parts = {"name": "vessels", "labels": {"SHIP": ""}, "instruction": "Mark.", part: value}
    with pytest.raises(UsageError) as caught:
        Task(**parts)
    assert str(caught.value) == f"task {parts['name'][:40]!r} has {problem}"
    (tmp_path / TASK_FILE).write_text(json.dumps(parts))
    with pytest.raises(ModelError, match=f"{TASK_FILE}: not a task .* has {problem}"):
        load_saved_task(tmp_path)


def test_an_unreadable_task_file_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_task(str(path))
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(UsageError, match="not a task"):
        load_task(str(path))


labels = st.text(min_size=1, max_size=8).filter(
    lambda text: text.isprintable() and text.split() == [text] and not set("[]|") & set(text)
)
tasks = st.builds(
    Task,
    name=st.text(max_size=200),
    labels=st.dictionaries(labels, st.text(), min_size=1, max_size=4),
    instruction=st.text(),
    template=st.sampled_from(sorted(TEMPLATES)),
)


@settings(deadline=None)
@given(tasks)
def test_json_round_trip(task: Task) -> None:
    text = task.to_json()
    assert "\n" not in text
    assert Task.from_json(text, "here") == task
    assert list(json.loads(text)["labels"]) == list(task.labels)


@settings(deadline=None)
@given(tasks)
def test_saving_and_loading(tmp_path_factory: pytest.TempPathFactory, task: Task) -> None:
    folder = tmp_path_factory.getbasetemp()
    task.save(folder)
    assert load_saved_task(folder) == task


def test_a_folder_without_a_task_has_none(tmp_path: Path) -> None:
    assert load_saved_task(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "x"}', "null"])
def test_a_damaged_saved_task_is_refused_by_its_path(tmp_path: Path, text: str) -> None:
    (tmp_path / TASK_FILE).write_text(text)
    with pytest.raises(ModelError, match="not a task") as caught:
        load_saved_task(tmp_path)
    assert str(tmp_path / TASK_FILE) in str(caught.value)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("instruction", ["Mark each ship.", "Fill {input} and {instruction}."])
def test_prefix_sentence_suffix_is_the_filled_template(template: str, instruction: str) -> None:
    task = Task("vessels", {"SHIP": ""}, instruction, template)
    filled = TEMPLATES[template].format(instruction=instruction, input="The Ada {sailed}")
    assert task.prefix + "The Ada {sailed}" + task.suffix == filled


def test_the_alpaca_prompt() -> None:
    task = Task("vessels", {"SHIP": ""}, "Mark each ship.")
    assert task.prefix == "### Instruction:\nMark each ship.\n"
    assert task.suffix == "\n\n### Response:\n"


def test_a_built_in_task_with_the_prompt_of_another_trainer() -> None:
    """Exactly the prompts of LLaMA-Factory's templates."""
    published = load_task("conll2003")
    alpaca = load_task("conll2003:llamafactory-alpaca")
    assert alpaca.prefix == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n" + published.prefix
    )
    assert alpaca.suffix == published.suffix
    qwen = load_task("conll2003:llamafactory-qwen")
    assert qwen.prefix == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        f"<|im_end|>\n<|im_start|>user\n{published.instruction}\n"
    )
    assert qwen.suffix == "<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(UsageError, match="no template 'vicuna'; choose one of plain, alpaca, "):
        load_task("conll2003:vicuna")


def test_the_short_task_asks_for_the_same_labels_in_few_words() -> None:
    short, published = load_task("conll2003-short"), load_task("conll2003")
    assert short.labels == published.labels
    assert (short.prefix, short.suffix) == ("Mark the named entities:\n", "\n")
