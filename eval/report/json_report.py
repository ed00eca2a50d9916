"""The report as JSON."""

import json
from dataclasses import asdict
from typing import Any

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.published import published
from ner_edge.eval.result import ModelResult
from ner_edge.files.atomic import write_text


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return every number of the tables, unrounded: scores in percent, ΔF1 in points."""
    gold = comparison.gold
    return {
        "data": str(gold.path),
        "sentences": len(gold.sentences),
        "docstart_lines": gold.docstart_lines,
        "tokens": gold.tokens,
        "entities": gold.entities,
        "baseline": comparison.baseline,
        "published": [asdict(row) for row in published(gold)],
        "models": [
            _model(result) | _difference(comparison, result.name) for result in comparison.results
        ],
    }


def _model(result: ModelResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "path": str(result.path),
        "decoder": result.decoder,
        "f1": result.f1,
        "size_bytes": result.size_bytes,
        "bits_per_weight": result.bits_per_weight,
        "sentences_per_second": result.sentences_per_second,
        "seconds": result.seconds,
        "hardware": result.hardware,
        "misaligned": result.misaligned,
        "faults": asdict(result.faults) if result.faults else None,
        "calibration": asdict(result.calibration) if result.calibration else None,
        "cost": asdict(result.cost) if result.cost else None,
        "agreement": asdict(result.agreement) if result.agreement else None,
        **asdict(result.metrics),
    }


def _difference(comparison: Comparison, name: str) -> dict[str, Any]:
    difference = comparison.differences.get(name)
    if difference is None:
        return {}
    return {
        "delta_f1": difference.delta_f1,
        "delta_f1_ci": [difference.ci_low, difference.ci_high],
        "flips": difference.flips,
        "verdict": difference.verdict,
        "delta_f1_per_label": difference.per_label,
    }


def write_json(report: dict[str, Any], target: str) -> None:
    """Write a report to a file, which appears whole or not at all, or to stdout for `-`."""
    write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", target)
