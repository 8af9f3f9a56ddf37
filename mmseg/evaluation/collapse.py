"""Notice classes that a network no longer predicts although the data has labels of them.

Legend: C classes; IoU values are fractions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLLAPSED = 0.01  # IoU below this

ClassBest = dict[str, list[Any]]  # class -> [its best IoU, after how many iterations]


@dataclass(frozen=True)
class Collapse:
    """Classes below 1 % in one evaluation."""

    below: list[str]  # their names
    warning: str | None  # one line that names them; None without any
    class_best: ClassBest  # best of each class up to and including this evaluation


def find_collapse(
    values: Mapping[str, Any],
    class_names: Sequence[str],
    class_best: Mapping[str, Sequence[Any]],
    iteration: int,
) -> Collapse:
    """Find the classes that have labels but an IoU below 1 %, after `iteration` iterations.

    `values` are 'IoU' and 'Acc', (C,) each, from `class_metrics`; Acc is NaN without labels.
    `class_best` is from the evaluation before this one; empty at the first.

    >>> values = {"IoU": [0.5, 0.002], "Acc": [0.6, 0.1]}
    >>> find_collapse(values, ["road", "sky"], {"sky": [0.34, 8000]}, 9000).below
    ['sky']
    """
    best: ClassBest = {name: list(entry) for name, entry in class_best.items()}
    below, parts = [], []
    for name, iou, recall in zip(class_names, values["IoU"], values["Acc"], strict=True):
        iou = float(iou)
        if math.isnan(iou) or math.isnan(recall):
            continue
        if iou < COLLAPSED:
            below.append(name)
            highest, when = best.get(name, [0.0, 0])
            was_above = f"fell from {100 * highest:.1f} % at iteration {when}"
            history = "never above 1 % so far" if highest < COLLAPSED else was_above
            parts.append(f"{name} {_percent(iou)} ({history})")
        if name not in best or iou > best[name][0]:
            best[name] = [iou, iteration]
    warning = f"IoU below 1 % although the data has labels: {', '.join(parts)}" if below else None
    return Collapse(below, warning, best)


def _percent(iou: float) -> str:
    """Write an IoU in percent with two decimals, cut off: 0.999 % must not become 1.00 %.

    >>> _percent(0.00999)
    '0.99 %'
    """
    # Rounded to six decimals more than are shown, because 0.0058 * 1e4 is 57.99… in binary.
    return f"{math.floor(round(iou * 1e4, 6)) / 100:.2f} %"
