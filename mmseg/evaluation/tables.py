"""Plain-text tables of metrics, in percent."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmseg.evaluation.metrics import nan_mean


def text_table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Draw centered columns in a frame.

    >>> print(text_table({'Class': ['road', 'sky'], 'IoU': [97.5, 'nan']}))
    +-------+------+
    | Class | IoU  |
    +-------+------+
    |  road | 97.5 |
    |  sky  | nan  |
    +-------+------+
    """
    cells = [[title, *map(str, column)] for title, column in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    rows = [
        "|" + "|".join(f" {c.center(w)} " for c, w in zip(row, widths, strict=True)) + "|"
        for row in zip(*cells, strict=True)
    ]
    return "\n".join([rule, rows[0], rule, *rows[1:], rule])


def metric_tables(values: Mapping[str, Any], class_names: Sequence[str]) -> tuple[str, str]:
    """Return the table per class and the table of means for what `class_metrics` returned."""
    per_class = {key: value for key, value in values.items() if key != "aAcc"}
    classes = {key: percent(value) for key, value in per_class.items()}
    means = {"aAcc": percent([values["aAcc"]])}
    means |= {f"m{key}": percent([nan_mean(value)]) for key, value in per_class.items()}
    return text_table({"Class": list(class_names), **classes}), text_table(means)


def percent(fractions: Any) -> list[float]:
    """Return fractions in percent, rounded to two decimals."""
    return [float(v) for v in np.round(np.asarray(fractions, np.float64) * 100, 2)]
