"""Several data files in one report: F1 on each, beside the usual tables for each."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.json_report import to_json
from ner_edge.eval.report.rendering import markdown, markdown_table
from ner_edge.eval.report.tables import Table
from ner_edge.files.inputs import distinct_names


def domain_names(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the name of each comparison's data file."""
    return distinct_names([comparison.gold.path for comparison in comparisons])


def domain_table(comparisons: Sequence[Comparison]) -> Table:
    """Return each model's F1 on each data file, and their mean, in which all files count alike."""
    models = [result.name for result in comparisons[0].results]
    rows = [[result.f1 for result in comparison.results] for comparison in comparisons]
    rows.append([*_means(comparisons).values()])
    names = [*domain_names(comparisons), "mean"]
    cells = [[name, *(f"{f1:.2f}" for f1 in row)] for name, row in zip(names, rows, strict=True)]
    return Table("F1 by data file", ["Data", *models], cells)


def domains_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the reports on all data files as GitHub Markdown; the last table is F1 on each."""
    parts = [
        f"## {name}\n\n{markdown(comparison)}"
        for name, comparison in zip(domain_names(comparisons), comparisons, strict=True)
    ]
    return "\n".join([*parts, markdown_table(domain_table(comparisons)) + "\n"])


def domains_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the reports on all data files, and each model's mean F1, unrounded."""
    return {"files": [*map(to_json, comparisons)], "mean_f1": _means(comparisons)}


def _means(comparisons: Sequence[Comparison]) -> dict[str, float]:
    by_model = zip(*(comparison.results for comparison in comparisons), strict=True)
    return {results[0].name: mean(result.f1 for result in results) for results in by_model}
