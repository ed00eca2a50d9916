"""The report's plots, each as SVG for a light and a dark page, and as PNG."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ner_edge.eval.compare import Comparison
from ner_edge.eval.evaluate import ModelResult

Draw = Callable[[Any], None]
"""Draws into a matplotlib `Axes`."""

_INK = {"light": "#1a1a1a", "dark": "#e6e6e6"}
_SIZE = (6.4, 4.2)  # inches


def plots(comparison: Comparison) -> dict[str, Draw]:
    """What there is to draw, by file name."""

    def by_size(axes: Any) -> None:
        _against(axes, comparison, "Size (MB)", lambda result: (result.size_bytes or 0) / 1e6)

    def by_speed(axes: Any) -> None:
        _against(axes, comparison, "Sentences/s", lambda result: result.sentences_per_second or 0)

    def reliability(axes: Any) -> None:
        _reliability(axes, comparison)

    drawings: dict[str, Draw] = {}
    if all(result.size_bytes is not None for result in comparison.results):
        drawings |= {"f1-size": by_size, "f1-speed": by_speed}
    if any(result.calibration is not None for result in comparison.results):
        drawings["reliability"] = reliability
    return drawings


def svg(draw: Draw, theme: str) -> str:
    """The plot as a standalone SVG on a transparent ground; `theme` is `light` or `dark`."""
    stream = io.StringIO()
    _save(draw, stream, _INK[theme], format="svg", transparent=True, metadata={"Date": None})
    return stream.getvalue()


def png(draw: Draw, path: Path) -> None:
    """Write the plot on white."""
    _save(draw, path, _INK["light"], format="png", dpi=150, facecolor="white")


def _save(draw: Draw, target: Any, ink: str, **options: Any) -> None:
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    # With a salt of its own, an SVG is the same each time.
    settings: dict[Any, Any] = {"svg.hashsalt": "ner-edge"} | dict.fromkeys(colours, ink)
    with mpl.rc_context(settings):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(alpha=0.25)
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(target, **options)


def _against(
    axes: Any, comparison: Comparison, label: str, x: Callable[[ModelResult], float]
) -> None:
    for result in comparison.results:
        difference = comparison.differences.get(result.name)
        error = None
        if difference is not None:
            ends = (difference.ci_low, difference.ci_high)
            error = [
                [max(0, difference.delta_f1 - ends[0])],
                [max(0, ends[1] - difference.delta_f1)],
            ]
        axes.errorbar(x(result), result.f1, error, fmt="o", capsize=3)
        axes.annotate(
            short_name(result.name),
            (x(result), result.f1),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlabel(label)
    axes.set_ylabel("F1 (%); bars: 95 % interval of ΔF1")
    axes.margins(x=0.15, y=0.15)


def short_name(name: str) -> str:
    """`q4_k_m` for `conll2003-135m:q4_k_m`."""
    return name.rpartition(":")[2]


def _reliability(axes: Any, comparison: Comparison) -> None:
    axes.plot([0, 1], [0, 1], linestyle=":", color="gray")
    for result in comparison.results:
        if result.calibration is None:
            continue
        bins = [b for b in result.calibration.bins if b.count >= 10]  # fewer say nothing
        axes.plot(
            [b.confidence for b in bins],
            [b.precision for b in bins],
            marker="o",
            markersize=4,
            label=f"{short_name(result.name)} (ECE {result.calibration.expected_error:.1f})",
        )
    axes.set_xlabel("Mean score of the entities in a bin")
    axes.set_ylabel("Share of them that is right")
    axes.legend(fontsize=7, frameon=False)
