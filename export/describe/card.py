"""A Markdown model card for exported files: what they are, how to use them, what they are made of.

The front matter is what Hugging Face's hub reads (https://huggingface.co/docs/hub/model-cards).
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ner_edge.errors import DataError, ModelError
from ner_edge.export.describe.manifest import Manifest
from ner_edge.export.read.source import Source
from ner_edge.files.inputs import read_input
from ner_edge.files.typed import MEGABYTE, read_json
from ner_edge.gguf.metadata import ModelFacts
from ner_edge.task import Task

SCORES_FILE = "scores.json"

Files = Sequence[tuple[ModelFacts, Manifest]]


def card_path(folder: Path, name: str) -> Path:
    """Where the card of all files of a name lies."""
    return folder / f"{name}.md"


def model_card(source: Source, name: str, files: Files) -> str:
    """The card of model files in one folder, and of their manifests."""
    parts = [
        _front_matter(source),
        f"# {name}",
        _summary(source),
        _labels(source.task),
        _table(files),
        _usage(source.task, files),
        _scores(source),
        _provenance(source, files),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def licence_of(source: Source) -> str | None:
    """The base's licence by its usual short name: its architecture's, or as its metadata or its own
    card tell it."""
    if terms := source.base.architecture.licence:
        return terms.identifier
    value = source.base.metadata.get("general.license")
    if value is not None:
        text = value.value
        name = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return name if re.fullmatch(r"[\w.-]+", name) else None
    try:
        page = read_input(source.base.path / "README.md", MEGABYTE)
    except DataError:
        return None
    card = page.decode("utf-8", "replace")
    front = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    found = front and re.search(r"^license:\s*([\w.-]+)\s*$", front[1], re.MULTILINE)
    return found[1] if found else None


def _front_matter(source: Source) -> str:
    lines = ["---"]
    if licence := licence_of(source):
        lines.append(f"license: {licence}")
    lines += ["library_name: ner-edge", "pipeline_tag: token-classification"]
    lines += ["tags:", "- named-entity-recognition", "- gguf", "- llama.cpp", "---"]
    return "\n".join(lines)


def _summary(source: Source) -> str:
    base = source.base.path.resolve().name
    how = "with a LoRA adapter merged in" if source.adapter else "as it is"
    text = f"The language model `{base}` ({source.base.architecture.name}), {how}"
    if source.task is not None:
        text += (
            f", for the task `{source.task.name}`: it rewrites a sentence with its named entities "
            "in brackets, `[Ada Lovelace | LABEL]`"
        )
    return f"{text}. The files are GGUF, for llama.cpp on a CPU or GPU."


def _labels(task: Task | None) -> str:
    if task is None:
        return ""
    rows = [f"| `{label}` | {_cell(meaning)} |" for label, meaning in task.labels.items()]
    return "\n".join(["## Labels", "", "| Label | Meaning |", "| --- | --- |", *rows])


def _table(files: Files) -> str:
    lines = ["## Files", "", "| File | Quantization | Size (MB) | Bits/weight |"]
    lines.append("| --- | --- | ---: | ---: |")
    notes = []
    for facts, manifest in files:
        size = f"{facts.size_bytes / 1e6:.1f}"
        name = f"[{_cell(facts.path.name)}](./{facts.path.name})"
        lines.append(f"| {name} | {facts.quant} | {size} | {facts.bits_per_weight:.2f} |")
        recipe = manifest.made_of.get("recipe")
        prediction = recipe.get("predicted_kl_millinats") if isinstance(recipe, Mapping) else None
        if isinstance(prediction, float):
            notes.append(
                f"The recipe {facts.quant} was predicted, when it was found, to move a decision by "
                f"{prediction:.2f} millinats of divergence on average."
            )
    return "\n".join([*lines, "", *notes] if notes else lines)


def _usage(task: Task | None, files: Files) -> str:
    if task is None:
        return ""
    file = min((facts for facts, _ in files), key=lambda facts: facts.size_bytes).path.name
    return f"""\
## Use

With ner-edge, which lets the model only copy the words and place the brackets:

```console
$ ner-edge tag -m {file} letter.txt
$ ner-edge verify {file}
```

With llama.cpp, whose grammar does the same for one sentence at a time:

```console
$ llama-server -m {file} &
$ ner-edge grammar -m {file} --request "Ada lives in London." | curl -d @- localhost:8080/completion
```

The prompt is the following, with one sentence, its words separated by spaces, for `{{input}}`; the
answer ends with its line. Without a grammar the answer may be malformed.

{_fenced(task.prefix + "{input}" + task.suffix)}"""


def _scores(source: Source) -> str:
    scores = _read_scores(source.adapter.path) if source.adapter else None
    if scores is None:
        return ""
    strict = scores.strict_micro
    lines = [
        "## Scores",
        "",
        f"As measured by who trained the adapter, on {_cell(scores.data)}, with the file "
        f"{_cell(scores.quant)}: strict micro F1 **{strict.f1:.2f}** (precision "
        f"{strict.precision:.2f}, recall {strict.recall:.2f}).",
        "",
        "| Label | F1 |",
        "| --- | ---: |",
    ]
    lines += [f"| `{label}` | {f1:.2f} |" for label, f1 in scores.f1_per_label.items()]
    return "\n".join(lines)


class _Micro(msgspec.Struct):
    precision: float
    recall: float
    f1: float


class _ScoresFile(msgspec.Struct):
    data: str
    quant: str
    strict_micro: _Micro
    f1_per_label: dict[str, float]


def _read_scores(adapter: Path) -> _ScoresFile | None:
    """What `scores.json` beside the adapter says; None if there is none, or another program's."""
    with suppress(ModelError):
        return read_json(adapter / SCORES_FILE, _ScoresFile, "scores")
    return None


def _provenance(source: Source, files: Files) -> str:
    made_of = source.made_of()
    lines = ["## Provenance", ""]
    licence = source.base.architecture.licence or licence_of(source)
    lines.append(f"Licence of the base: {licence or 'not stated in its metadata'}.")
    lines += ["", "| | Name | SHA-256 |", "| --- | --- | --- |"]
    for what in ("base", "adapter"):
        if isinstance(entry := made_of.get(what), Mapping):
            lines.append(f"| {what} | {_cell(str(entry['name']))} | `{entry['sha256']}` |")
    for facts, manifest in files:
        lines.append(f"| file | {_cell(facts.path.name)} | `{manifest.sha256}` |")
    lines += ["", f"Made by ner-edge {made_of['ner-edge']}; the JSON file beside each model holds"]
    lines.append("its checks, and `ner-edge verify` compares.")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.removesuffix(chr(10))}\n{fence}"
