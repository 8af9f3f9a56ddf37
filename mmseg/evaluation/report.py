"""Turn predictions or metrics into the log's tables (in percent) and `results.json`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmseg.evaluation.confusion import ConfusionMatrix
from mmseg.evaluation.metrics import class_metrics, means_and_classes, nan_mean, rounded, summarize

# Results with SYNTHIA as source are published for the 16 classes that it labels, and for these
# without wall, fence and pole.
SYNTHIA_16 = tuple(c for c in range(19) if c not in (9, 14, 16))
SYNTHIA_13 = tuple(c for c in SYNTHIA_16 if c not in (3, 4, 5))


def evaluate_dataset(
    results: Iterable[Any],
    labels: Iterable[Any],
    class_names: Sequence[str],
    metric: str | Sequence[str] = "mIoU",
    logger: logging.Logger | None = None,
    ignore_index: int = 255,
) -> dict[str, float]:
    """Compare predicted (H, W) class maps with labels in the same order, and log the tables.

    The values are rounded to four decimals: 'aAcc', 'mIoU', 'mAcc', 'IoU.<class>', … .
    """
    matrix = ConfusionMatrix(len(class_names), ignore_index)
    for prediction, label in zip(results, labels, strict=True):
        matrix.update(prediction, label)
    values = class_metrics(matrix, metric)
    log_tables(values, class_names, logger or logging.getLogger("mmseg"))
    return summarize(values, class_names)


def log_tables(
    values: Mapping[str, Any], class_names: Sequence[str], logger: logging.Logger
) -> None:
    """Log the table per class and the table of means."""
    classes, means = metric_tables(values, class_names)
    for line in ("per class results:", "\n" + classes, "Summary:", "\n" + means):
        logger.info(line)


def metric_tables(values: Mapping[str, Any], class_names: Sequence[str]) -> tuple[str, str]:
    """Return the table per class and the table of means for what `class_metrics` returned."""
    means, per_class = means_and_classes(values)
    classes = {key: percent(value) for key, value in per_class.items()}
    shown = {key: percent([value]) for key, value in means.items()}
    return text_table({"Class": list(class_names), **classes}), text_table(shown)


def subset_miou(iou: Sequence[float]) -> dict[str, float]:
    """Return mIoU over 19, 16 and 13 classes, which runs with SYNTHIA as source report.

    `iou` are (19,) fractions; NaN is left out of the means.
    """
    values = np.asarray(iou, np.float64)
    subsets = {"mIoU19": range(len(values)), "mIoU16": SYNTHIA_16, "mIoU13": SYNTHIA_13}
    return {name: nan_mean(values[list(subset)]) for name, subset in subsets.items()}


def log_subsets(values: Mapping[str, Any], logger: logging.Logger) -> None:
    """Log mIoU over 19, 16 and 13 classes."""
    subsets = {name: percent([value]) for name, value in subset_miou(values["IoU"]).items()}
    logger.info("mIoU over 19, 16 and 13 classes (SYNTHIA labels 16 of the 19):")
    logger.info("\n" + text_table(subsets))


def result_record(
    values: Mapping[str, Any],
    class_names: Sequence[str],
    images: int,
    with_subsets: bool = False,
    **details: Any,
) -> dict[str, Any]:
    """Return the content of `results.json`: details of the run, means, and values per class.

    Values, from `class_metrics`, are fractions rounded to four decimals; what is undefined (NaN)
    becomes None. `with_subsets` adds mIoU over 19, 16 and 13 classes.
    """
    means, per_class = means_and_classes(values)
    if with_subsets:
        means |= subset_miou(values["IoU"])
    classes = {
        name: {key: _number(value[c]) for key, value in per_class.items()}
        for c, name in enumerate(class_names)
    }
    means = {key: _number(value) for key, value in means.items()}
    return {**details, "num_images": images, **means, "per_class": classes}


def group_records(
    matrices: Mapping[str, ConfusionMatrix], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return a short record, as `result_record` has it, for each group of images."""
    records = {}
    for name, matrix in matrices.items():
        record = result_record(class_metrics(matrix, "mIoU"), class_names, matrix.images)
        per_class = {key: value["IoU"] for key, value in record["per_class"].items()}
        records[name] = {"num_images": matrix.images, "mIoU": record["mIoU"], "IoU": per_class}
    return records


def log_groups(
    records: Mapping[str, Mapping[str, Any]], title: str, logger: logging.Logger
) -> None:
    """Log mIoU and IoU per class of each group, a `title` (what `group_records` returned)."""
    names = list(next(iter(records.values()))["IoU"])
    columns: dict[str, Sequence[Any]] = {"Class": [*names, "mIoU", "images"]}
    for name, record in records.items():
        values = percent([*map(_nan, record["IoU"].values()), _nan(record["mIoU"])])
        columns[name] = [*values, record["num_images"]]
    logger.info(f"IoU per {title}:")
    logger.info("\n" + text_table(columns))


def final_lines(last: Mapping[str, Any] | None, best: Mapping[str, Any] | None) -> list[str]:
    """Return the log's last lines: the last and the best record with 'iteration', side by side."""
    records = {title: r for title, r in (("last", last), ("best", best)) if r is not None}
    if not records:
        return []
    names = list(next(iter(records.values()))["per_class"])
    columns: dict[str, list[Any]] = {"Class": names}
    lines = []
    for title, record in records.items():
        columns[f"IoU {title}"] = percent([_nan(record["per_class"][n]["IoU"]) for n in names])
        means = [f"{k} {percent([_nan(v)])[0]}" for k, v in record.items() if k.startswith("mIoU")]
        lines.append(
            f"Result of the {title} iteration ({record['iteration']}): {', '.join(means)} "
            f"(on {record['split']}, {record['num_images']} images)"
        )
    return ["\n" + text_table(columns), *lines]


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


def percent(fractions: Any) -> list[float]:
    """Return fractions in percent, rounded to two decimals."""
    return [float(v) for v in np.round(np.asarray(fractions, np.float64) * 100, 2)]


def _nan(value: float | None) -> float:
    """Undo what JSON needs: None is NaN."""
    return float("nan") if value is None else value


def _number(fraction: float) -> float | None:
    """Round to four decimals; None stands for NaN, which JSON does not have."""
    value = rounded(fraction)
    return None if np.isnan(value) else round(value, 4)
