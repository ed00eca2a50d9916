"""A Markdown model card for exported files: labels, files, usage, scores and provenance.

The front matter is that of the Hugging Face Hub (https://huggingface.co/docs/hub/model-cards).
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ner_edge.errors import DataError, ModelError
from ner_edge.export.describe.manifest import Manifest
from ner_edge.export.read.base import metadata_text
from ner_edge.export.read.source import Source
from ner_edge.files.inputs import read_input
from ner_edge.files.typed import MEGABYTE, read_json
from ner_edge.gguf.metadata import ModelMetadata
from ner_edge.task import Task
from ner_edge.word_head import WordHead

SCORES_FILE = "scores.json"

Files = Sequence[tuple[ModelMetadata, Manifest]]


def card_path(folder: Path, name: str) -> Path:
    """Return the path of the card for all files of an export."""
    return folder / f"{name}.md"


def model_card(source: Source, name: str, files: Files) -> str:
    """Write the card of the `files` exported from `source`, each with its manifest."""
    parts = [
        _front_matter(source),
        f"# {name}",
        _summary(source),
        _reading(source.word_head),
        _labels(source.task),
        _table(files),
        _usage(source.task, files),
        _scores(source),
        _attribution(source.attribution),
        _provenance(source, files),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def licence_of(source: Source) -> str | None:
    """Return the identifier of the base's licence: its architecture's, or the one named in its
    metadata or model card; None if there is none."""
    if terms := source.base.architecture.licence:
        return terms.identifier
    name = metadata_text(source.base, "general.license")
    if name is not None:
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
    how = " with a LoRA adapter merged in" if source.adapter else ""
    text = f"The language model `{base}` ({source.base.architecture.name}){how}"
    if source.task is not None:
        text += (
            f", for the task `{source.task.name}`. The model rewrites a sentence with its named "
            "entities in brackets: `[Ada Lovelace | LABEL]`"
        )
    return f"{text}. The files are in GGUF format and run in llama.cpp on a CPU or GPU."


def _reading(head: WordHead | None) -> str:
    if head is None:
        return ""
    what = "consecutive sentences of a text together" if head.passage else "a sentence"
    return (
        f"It was trained to read {what} in both directions and to tag the words while reading, "
        "which ner-edge does; what it is sure of then need not be written. Other tools read from "
        "left to right, which works too, a little less accurately."
    )


def _labels(task: Task | None) -> str:
    if task is None:
        return ""
    rows = [f"| `{label}` | {_cell(meaning)} |" for label, meaning in task.labels.items()]
    return "\n".join(["## Labels", "", "| Label | Meaning |", "| --- | --- |", *rows])


def _table(files: Files) -> str:
    lines = ["## Files", "", "| File | Quantization | Size (MB) | Bits/weight |"]
    lines.append("| --- | --- | ---: | ---: |")
    notes = []
    for metadata, manifest in files:
        size = f"{metadata.size_bytes / 1e6:.1f}"
        name = f"[{_cell(metadata.path.name)}](./{metadata.path.name})"
        lines.append(f"| {name} | {metadata.quant} | {size} | {metadata.bits_per_weight:.2f} |")
        recipe = manifest.provenance.get("recipe")
        prediction = recipe.get("predicted_kl_millinats") if isinstance(recipe, Mapping) else None
        if isinstance(prediction, float):
            notes.append(
                f"Predicted loss of the recipe {metadata.quant}: a mean KL divergence of "
                f"{prediction:.2f} millinats per decision from the unquantized model."
            )
    return "\n".join([*lines, "", *notes] if notes else lines)


def _usage(task: Task | None, files: Files) -> str:
    if task is None:
        return ""
    file = min((metadata for metadata, _ in files), key=lambda m: m.size_bytes).path.name
    return f"""\
## Use

With ner-edge, which constrains the model to copying the words and placing brackets:

```console
$ ner-edge tag -m {file} letter.txt
$ ner-edge verify {file}
```

With llama.cpp, and a grammar with the same constraint for each sentence:

```console
$ llama-server -m {file} &
$ ner-edge grammar -m {file} --request "Ada lives in London." | curl -d @- localhost:8080/completion
```

This is the prompt. Replace `{{input}}` with one sentence, its words separated by spaces. The answer
ends at the first newline; without a grammar it may be malformed.

{_fenced(task.prefix + "{input}" + task.suffix)}"""


def _scores(source: Source) -> str:
    scores = _read_scores(source.adapter.path) if source.adapter else None
    if scores is None:
        return ""
    strict = scores.strict_micro
    lines = [
        "## Scores",
        "",
        f"Measured by the author of the adapter on {_cell(scores.data)}, with the "
        f"{_cell(scores.quant)} file: strict micro F1 **{strict.f1:.2f}** (precision "
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
    """The scores in `scores.json` beside the adapter; None if the file is missing or another's."""
    with suppress(ModelError):
        return read_json(adapter / SCORES_FILE, _ScoresFile, "scores")
    return None


def _attribution(credits: Sequence[str]) -> str:
    lines = ["- " + re.sub(r"[\\`*_\[\]<>|]", r"\\\g<0>", credit) for credit in credits]
    return "\n".join(["## Training data", "", *lines]) if credits else ""


def _provenance(source: Source, files: Files) -> str:
    provenance = source.provenance()
    lines = ["## Provenance", ""]
    licence = source.base.architecture.licence or licence_of(source)
    lines.append(f"Licence of the base: {licence or 'not stated in its metadata'}.")
    lines += ["", "| | Name | SHA-256 |", "| --- | --- | --- |"]
    for what in ("base", "adapter"):
        if isinstance(entry := provenance.get(what), Mapping):
            lines.append(f"| {what} | {_cell(str(entry['name']))} | `{entry['sha256']}` |")
    for metadata, manifest in files:
        lines.append(f"| file | {_cell(metadata.path.name)} | `{manifest.sha256}` |")
    lines += ["", f"Exported by ner-edge {provenance['ner-edge']}. The JSON file beside each model"]
    lines.append("records its checks, and `ner-edge verify` repeats them.")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.removesuffix(chr(10))}\n{fence}"
