"""IoU, accuracy, Dice and F-score per class from pixel counts.

Legend: C classes; I = pixels where prediction and label agree, P = predicted, L = labeled pixels.
A class without the pixels that a metric divides by is NaN and left out of the mean.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np

from mmseg.config.values import Metric
from mmseg.evaluation.confusion import ConfusionMatrix
from mmseg.system.errors import ConfigError, nearest

METRICS: tuple[str, ...] = get_args(Metric)


def intersect_and_union(
    prediction: Any,
    label: Any,
    num_classes: int,
    ignore_index: int = 255,
    label_map: Mapping[int, int] | None = None,
    reduce_zero_label: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count (intersection, union, prediction, label) pixels per class of one image, (C,) each.

    Prediction and label are (H, W) classes; the other arguments are those of `eval_metrics`.
    """
    matrix = ConfusionMatrix(num_classes, ignore_index)
    matrix.update(prediction, _prepare_label(label, label_map, reduce_zero_label))
    inter, predicted, labeled = matrix.intersection, matrix.predicted_pixels, matrix.label_pixels
    return inter, predicted + labeled - inter, predicted, labeled


def eval_metrics(
    results: Iterable[Any],
    gt_seg_maps: Iterable[Any],
    num_classes: int,
    ignore_index: int = 255,
    metrics: str | Sequence[str] = ("mIoU",),
    nan_to_num: float | None = None,
    label_map: Mapping[int, int] | None = None,
    reduce_zero_label: bool = False,
    beta: float = 1,
) -> dict[str, Any]:
    """Compare predictions with labels, image by image, and return metrics over all pixels.

    Args:
        results: predicted (H, W) class maps.
        gt_seg_maps: labels, in the same order.
        num_classes: C.
        ignore_index: the label of pixels that do not count.
        metrics: any of 'mIoU', 'mDice', 'mFscore'.
        nan_to_num: a number that replaces NaN.
        label_map: labels to replace before counting, old → new.
        reduce_zero_label: label 0 means "ignored" and label n means class n - 1.
        beta: how many times as much recall counts as precision in the F-score.

    Returns 'aAcc' (a number) and (C,) float64 arrays 'IoU', 'Acc', 'Dice', 'Fscore', … .
    """
    matrix = ConfusionMatrix(num_classes, ignore_index)
    for prediction, label in zip(results, gt_seg_maps, strict=True):
        matrix.update(prediction, _prepare_label(label, label_map, reduce_zero_label))
    values = class_metrics(matrix, metrics, beta)
    if nan_to_num is not None:
        values = {key: np.nan_to_num(value, nan=nan_to_num) for key, value in values.items()}
    return values


# `eval_metrics` for one metric each, under mmsegmentation's names.
mean_iou = partial(eval_metrics, metrics="mIoU")
mean_dice = partial(eval_metrics, metrics="mDice")
mean_fscore = partial(eval_metrics, metrics="mFscore")


def class_metrics(
    matrix: ConfusionMatrix, metrics: str | Sequence[str] = ("mIoU",), beta: float = 1
) -> dict[str, Any]:
    """Return 'aAcc' and the per-class arrays (C,) of the named metrics, as fractions."""
    inter = matrix.intersection.astype(np.float64)
    predicted = matrix.predicted_pixels.astype(np.float64)
    labeled = matrix.label_pixels.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        values: dict[str, Any] = {"aAcc": inter.sum() / labeled.sum()}
        recall, precision = inter / labeled, inter / predicted
        for metric in check_metrics(metrics):
            if metric == "mIoU":
                values |= {"IoU": inter / (predicted + labeled - inter), "Acc": recall}
            elif metric == "mDice":
                values |= {"Dice": 2 * inter / (predicted + labeled), "Acc": recall}
            else:
                weighted = (1 + beta**2) * precision * recall
                values["Fscore"] = weighted / (beta**2 * precision + recall)
                values |= {"Precision": precision, "Recall": recall}
    return values


def summarize(values: Mapping[str, Any], class_names: Sequence[str]) -> dict[str, float]:
    """Round what `class_metrics` returned to four decimals, as logs and hooks read it.

    The keys are 'aAcc', 'm<metric>' for each metric, then '<metric>.<class>'.
    """
    means, per_class = means_and_classes(values)
    summary = {key: rounded(value) for key, value in means.items()}
    for key, value in per_class.items():
        for name, one in zip(class_names, value, strict=True):
            summary[f"{key}.{name}"] = rounded(one)
    return summary


def means_and_classes(values: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """Split what `class_metrics` returned: 'aAcc' with a mean per metric; the (C,) arrays."""
    per_class = {key: value for key, value in values.items() if key != "aAcc"}
    means = {f"m{key}": nan_mean(value) for key, value in per_class.items()}
    return {"aAcc": values["aAcc"], **means}, per_class


def rounded(fraction: float) -> float:
    """Round a fraction to hundredths of a percent."""
    return float(np.round(fraction * 100, 2) / 100)


def nan_mean(values: Any) -> float:
    """Average the values that are not NaN; NaN when there are none."""
    values = np.asarray(values, np.float64)
    is_number = ~np.isnan(values)
    return float(values[is_number].mean()) if is_number.any() else float("nan")


def check_metrics(metrics: str | Sequence[str]) -> list[str]:
    """Return the metrics as a list; raise `ConfigError` for an unknown one."""
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"unknown metric {name!r}{nearest(name, METRICS)}")
    return names


def _prepare_label(
    label: Any, label_map: Mapping[int, int] | None, reduce_zero_label: bool
) -> np.ndarray:
    """Return the label with replaced classes, without changing the caller's array."""
    label = np.asarray(label)
    if label_map:
        original, label = label, label.copy()
        for old, new in label_map.items():
            label[original == old] = new
    if reduce_zero_label:
        return np.where((label == 0) | (label == 255), 255, label.astype(np.int64) - 1)
    return label
