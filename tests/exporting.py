"""Export with settings as keywords, which keeps tests short."""

from pathlib import Path
from typing import Any

from ner_edge.export import pipeline
from ner_edge.export.request import ExportRequest


def export_model(
    base: Path,
    adapter: Path | None,
    folder: Path,
    quants: list[str],
    *,
    progress: pipeline.Progress | None = None,
    **settings: Any,
) -> list[Path]:
    """`settings` are those of `ExportRequest`."""
    request = ExportRequest(folder, quants, **settings)
    return pipeline.export_model(base, adapter, request, progress)
