"""The report's plots: SVG for a light and a dark page, and PNG."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.result import ModelResult


class Plot(NamedTuple):
    """A title, and a function that draws into matplotlib `Axes`."""

    title: str
    draw: Callable[[Any], None]


_FOREGROUND = {"light": "#1a1a1a", "dark": "#e6e6e6"}
_SIZE = (5.2, 3.8)  # inches; at this size, 10-point text is readable on a phone
_BARS = "bars: 95 % interval of ΔF1"
_MARKERS = "osD^vPX*"
_FEW = 5  # entities; fewer give no meaningful share of correct ones
# Label positions relative to the point, best first: offset in points, alignment.
_PLACES = [
    (offset, horizontal, vertical)
    for distance in (5, 14, 23)
    for offset, horizontal, vertical in (
        ((6, distance), "left", "bottom"),
        ((6, -distance), "left", "top"),
        ((-6, distance), "right", "bottom"),
        ((-6, -distance), "right", "top"),
    )
]


def plots(comparison: Comparison) -> dict[str, Plot]:
    """Return the plots by file name; each leaves out models whose figure is unknown."""
    results = comparison.results

    def against(label: str, x: Callable[[ModelResult], float | None]) -> Plot:
        return Plot(f"F1 against {label}", lambda axes: _scatter(axes, comparison, label, x))

    drawings: dict[str, Plot] = {}
    if any(_megabytes(result) is not None for result in results):
        drawings["f1-size"] = against("Size (MB)", _megabytes)
    elif len(results) > 1:
        drawings["f1"] = Plot("F1 of each model", lambda axes: _f1_per_model(axes, comparison))
    if any(result.sentences_per_second is not None for result in results):
        drawings["f1-speed"] = against("Sentences/s", lambda result: result.sentences_per_second)
    if any(result.calibration and result.calibration.bins for result in results):
        drawings["reliability"] = Plot(
            "Precision against score",
            lambda axes: _reliability(axes, results),
        )
    return drawings


def svg(plot: Plot, theme: str) -> str:
    """Return a standalone SVG with a transparent background; `theme` is `light` or `dark`."""
    stream = io.StringIO()
    _save(plot, stream, _FOREGROUND[theme], format="svg", transparent=True, metadata={"Date": None})
    return stream.getvalue()


def png(plot: Plot, path: Path) -> None:
    """Write the plot on a white background."""
    _save(plot, path, _FOREGROUND["light"], format="png", dpi=150, facecolor="white")


def _save(plot: Plot, target: Any, foreground: str, **options: Any) -> None:
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    # A fixed salt makes the SVG reproducible.
    settings: dict[Any, Any] = {"svg.hashsalt": "ner-edge"} | dict.fromkeys(colours, foreground)
    with mpl.rc_context(settings):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        plot.draw(axes)
        figure.savefig(target, **options)


def _megabytes(result: ModelResult) -> float | None:
    return None if result.size_bytes is None else result.size_bytes / 1e6


def _scatter(
    axes: Any, comparison: Comparison, label: str, x: Callable[[ModelResult], float | None]
) -> None:
    points = []
    for i, result in enumerate(comparison.results):
        position = x(result)
        if position is None:
            continue
        error = _interval(comparison, result)
        marker = _MARKERS[i % len(_MARKERS)]
        axes.errorbar(position, result.f1, error, fmt=marker, color=f"C{i}", capsize=3)
        points.append((short_name(result.name), position, result.f1))
    axes.set_xlabel(label)
    axes.set_ylabel(f"F1 (%); {_BARS}" if comparison.differences else "F1 (%)")
    axes.margins(x=0.2, y=0.15)
    _label(axes, points)


def _f1_per_model(axes: Any, comparison: Comparison) -> None:
    results = comparison.results
    for i, result in enumerate(results):
        error = _interval(comparison, result)
        axes.errorbar(result.f1, i, xerr=error, fmt=_MARKERS[i % len(_MARKERS)], capsize=3)
    axes.set_yticks(range(len(results)), [shortened_name(result.name) for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.margins(x=0.15)
    axes.set_xlabel(f"F1 (%); {_BARS}")


def _interval(comparison: Comparison, result: ModelResult) -> list[list[float]] | None:
    """The error bar's lengths below and above F1."""
    difference = comparison.differences.get(result.name)
    if difference is None or result.name == comparison.baseline:
        return None
    return [
        [max(0, difference.delta_f1 - difference.ci_low)],
        [max(0, difference.ci_high - difference.delta_f1)],
    ]


def _label(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Place each name where it covers no other point or name, if there is room."""
    axes.figure.draw_without_rendering()  # computes the position of the axes
    pixel = axes.figure.dpi / 72
    centres = [axes.transData.transform(point[1:]) for point in points]
    taken = [mpl.transforms.Bbox.from_extents(*(c - 4 * pixel), *(c + 4 * pixel)) for c in centres]
    for name, x, y in points:
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=9)
        taken.append(_place(axes, text, taken))


def _place(axes: Any, text: Any, taken: Sequence[Any]) -> Any:
    """Move the text to the first of the least crowded positions and return its box."""
    left, right = axes.get_window_extent().x0, axes.figure.bbox.x1
    boxes: list[tuple[int, int, Any]] = []
    for place in _PLACES:
        box = _move(text, place)
        outside = box.x0 < left or box.x1 > right
        collisions = sum(box.overlaps(other) for other in taken)
        boxes.append((collisions + 2 * outside, len(boxes), box))
        if not boxes[-1][0]:
            break
    _, best, _ = min(boxes, key=lambda tried: tried[:2])
    return _move(text, _PLACES[best])


def _move(text: Any, place: tuple[tuple[int, int], str, str]) -> Any:
    offset, horizontal, vertical = place
    text.set(position=offset, ha=horizontal, va=vertical)
    return text.get_window_extent()


def short_name(name: str) -> str:
    """Return `q4_k_m` for `conll2003-135m:q4_k_m`."""
    return shortened_name(name.rpartition(":")[2])


def shortened_name(name: str) -> str:
    """Shorten a name to at most 24 characters."""
    return name if len(name) <= 24 else f"{name[:14]}…{name[-9:]}"


def _reliability(axes: Any, results: Sequence[ModelResult]) -> None:
    axes.plot([0, 1], [0, 1], linestyle=":", color="gray")
    for i, result in enumerate(results):
        if result.calibration is None:
            continue
        bins = [b for b in result.calibration.bins if b.count >= _FEW]
        x, y = [b.confidence for b in bins], [b.precision for b in bins]
        error = f"{result.calibration.expected_error:.1f}"
        axes.plot(x, y, color=f"C{i}", linewidth=0.8, alpha=0.7)
        axes.scatter(
            x,
            y,
            [8 + 60 * b.count / max((b.count for b in bins), default=1) for b in bins],
            color=f"C{i}",
            marker=_MARKERS[i % len(_MARKERS)],
            label=f"{short_name(result.name)} (ECE {error})",
        )
    axes.set_xlim(-0.02, 1.04)
    axes.set_ylim(-0.04, 1.06)
    axes.set_xlabel("Mean score of entities; point size: their number")
    axes.set_ylabel(f"Precision (bins of {_FEW} or more entities)")
    for handle in axes.legend(loc="lower right", fontsize=8, frameon=False).legend_handles:
        handle.set_sizes([25])
