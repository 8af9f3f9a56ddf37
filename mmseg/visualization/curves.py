"""Draw the curves of a run from its JSON-lines log."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmseg.system.files import atomic_write

Curve = dict[int, float]  # iteration -> value
LOG_PATTERNS = ("*.log.json", "*.jsonl")


def plot_curves(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Draw losses, what CDDA did and mIoU, as far as logged, to `curves.png` in the run's folder.

    Args:
        run_dir: work folder of a run; the logs of a resumed run are joined.
        output: another file to write.

    Returns:
        The written file.
    """
    curves = read_curves(run_dir)
    panels = {
        "loss": {name: curve for name, curve in curves.items() if "loss" in name},
        "CDDA, means over images": {n: c for n, c in curves.items() if n.startswith("cdda.")},
        "mIoU on the validation set": {n: c for n, c in curves.items() if n == "mIoU"},
    }
    panels = {title: panel for title, panel in panels.items() if panel}
    if not panels:
        raise ValueError(f"expected losses or mIoU in the log of {run_dir}, got neither yet.")
    figure = Figure(figsize=(10, 1 + 3.2 * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axes, (title, panel) in zip(all_axes, panels.items(), strict=True):
        _draw(axes, panel, title)
        if title == "loss":
            axes.set_yscale("log")  # a loss of exactly 0 leaves a gap
        else:
            axes.margins(y=0.1)
            axes.set_ylim(bottom=0)
    all_axes[-1].set_xlabel("iteration")
    path = Path(output) if output else Path(run_dir) / "curves.png"
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return path


def read_curves(run_dir: str | Path) -> dict[str, Curve]:
    """Return every number of a run's logs as `{name: {iteration: value}}`.

    Where two logs of one run overlap, the later one counts. A last line that was cut off by the end
    of a process is left out.
    """
    files = sorted(file for pattern in LOG_PATTERNS for file in Path(run_dir).glob(pattern))
    if not files:
        raise FileNotFoundError(
            f"expected a log ({' or '.join(LOG_PATTERNS)}) in {run_dir}, got none; "
            "name the work folder of a run."
        )
    curves: dict[str, Curve] = defaultdict(dict)
    for file in files:
        for entry in _entries(file.read_text(encoding="utf-8").splitlines()):
            for name, value in entry.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    curves[name][int(entry["iter"])] = float(value)
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def _entries(lines: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    """Yield the log's lines that belong to an iteration."""
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and entry.get("mode") in ("train", "val") and "iter" in entry:
            yield entry


def _draw(axes: Axes, curves: Mapping[str, Curve], title: str) -> None:
    for name, curve in sorted(curves.items()):
        marker = "o" if len(curve) < 30 else None
        axes.plot(list(curve), list(curve.values()), label=name, marker=marker, linewidth=1.2)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
