"""Draw the curves of a run from its JSON-lines log."""

import math
import re
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

from mmseg.evaluation.run_logs import log_files, records
from mmseg.system.files import atomic_write

Curve = dict[int, float]  # iteration -> value
LOSSES = "loss"
PANELS = {  # title -> pattern of the logged names
    LOSSES: ".*loss.*",
    "CDDA, means over images": r"cdda\..*",
    "mIoU on the validation set": "mIoU",
}


def plot_curves(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Draw what a run logged of losses, CDDA and mIoU; return the file, by default `curves.png`.

    The logs of a resumed run are joined.
    """
    curves, panels = read_curves(run_dir), {}
    for title, pattern in PANELS.items():
        if panel := {name: c for name, c in curves.items() if re.fullmatch(pattern, name)}:
            panels[title] = panel
    if not panels:
        raise ValueError(f"expected losses or mIoU in the log of {run_dir}, got neither yet.")
    figure = Figure(figsize=(10, 1 + 3.2 * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axes, (title, panel) in zip(all_axes, panels.items(), strict=True):
        for name, curve in sorted(panel.items()):
            marker = "o" if len(curve) < 30 else None
            axes.plot(list(curve), list(curve.values()), label=name, marker=marker, linewidth=1.2)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        if title == LOSSES:
            axes.set_yscale("log")  # a loss of exactly 0 leaves a gap
        else:
            axes.margins(y=0.1)
            axes.set_ylim(bottom=0)
    all_axes[-1].set_xlabel("iteration")
    path = Path(output or Path(run_dir, "curves.png"))
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
    return path


def read_curves(run_dir: str | Path) -> dict[str, Curve]:
    """Return every number in a run's logs as `{name: {iteration: value}}`.

    Where two logs overlap, the later one counts. A truncated last line is ignored.
    """
    curves: dict[str, Curve] = defaultdict(dict)
    for file in log_files(run_dir):
        for entry in records(file):
            for name, value in entry.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    curves[name][int(entry["iter"])] = float(value)
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}
