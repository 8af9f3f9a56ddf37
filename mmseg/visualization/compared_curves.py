"""Curves of several runs in one picture: each group of runs has a color."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmseg.system.files import atomic_write
from mmseg.visualization.curves import LOSSES, PANELS, Curve

Panels = Mapping[str, Mapping[str, Sequence[Curve]]]  # title -> group -> a curve of each run
SMOOTHING = 0.05  # share of a curve's points whose mean a point is
SMOOTHED = f"mean over {SMOOTHING:.0%} of the run"
SCORES = ("mIoU", "mIoU16")
FEW = 10  # colors that differ clearly
COLUMNS = 2


def log_panels(groups: Mapping[str, Sequence[Mapping[str, Curve]]]) -> Panels:
    """Return the panels of mIoU and of every loss, smoothed.

    `groups` are what `read_curves` returned for the runs of each group.
    """
    runs = [run for group in groups.values() for run in group]
    names = sorted({name for run in runs for name in run if re.fullmatch(PANELS[LOSSES], name)})
    panels = {f"{name}, percent": _each_run(groups, name, in_percent) for name in SCORES}
    panels |= {f"{name}, {SMOOTHED}": _each_run(groups, name, smoothed) for name in names}
    return {title: panel for title, panel in panels.items() if any(panel.values())}


def in_percent(curve: Curve) -> Curve:
    """Return fractions in percent."""
    return {step: 100 * value for step, value in curve.items()}


def smoothed(curve: Curve, share: float = SMOOTHING) -> Curve:
    """Return the mean of each point and of those before it, a share of the curve in all.

    >>> smoothed({1: 4.0, 2: 2.0, 3: 3.0}, share=0.67)
    {1: 4.0, 2: 3.0, 3: 2.5}
    """
    steps, values = list(curve), list(curve.values())
    width = max(1, round(share * len(values)))
    parts = (values[max(0, n + 1 - width) : n + 1] for n in range(len(values)))
    return {step: sum(part) / len(part) for step, part in zip(steps, parts, strict=True)}


def plot_panels(panels: Panels, output: str | Path) -> None:
    """Draw each panel over the iterations, losses on a logarithmic axis, as PNG."""
    groups = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    rows = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(12, 1 + 3 * rows), layout="constrained")
    all_axes = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    colors = dict(zip(groups, _colors(len(groups)), strict=True))
    for axes, (title, panel) in zip(all_axes, panels.items(), strict=False):
        for name, curves in panel.items():
            _draw(axes, curves, colors[name])
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("iteration", fontsize="small")
        axes.tick_params(labelsize="small")
        axes.grid(alpha=0.3)
        if re.search(PANELS[LOSSES], title):
            axes.set_yscale("log")
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    lines = [Line2D([], [], color=colors[name]) for name in groups]
    labels = [name.replace("$", r"\$") for name in groups]  # no formulas
    figure.legend(lines, labels, loc="outside upper left", ncols=3, fontsize="small")
    with atomic_write(output) as file:
        figure.savefig(file, format="png", dpi=100)


def _each_run(
    groups: Mapping[str, Sequence[Mapping[str, Curve]]],
    name: str,
    change: Callable[[Curve], Curve],
) -> dict[str, list[Curve]]:
    """Return one curve of each run that has it, changed."""
    return {
        title: [change(run[name]) for run in group if name in run]
        for title, group in groups.items()
    }


def _draw(axes: Any, curves: Iterable[Curve], color: Any) -> None:
    for curve in curves:
        marker = "." if len(curve) < 30 else None
        points = list(curve), list(curve.values())
        axes.plot(*points, color=color, marker=marker, linewidth=1.1, alpha=0.8)


def _colors(count: int) -> list[Any]:
    if count <= FEW:
        return [mpl.colormaps["tab10"](number) for number in range(count)]
    return [mpl.colormaps["turbo"](number / (count - 1)) for number in range(count)]
