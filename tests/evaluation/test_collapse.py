"""Classes below 1 % are called out; by hand."""

from typing import Any

import numpy as np
import pytest

from mmseg.evaluation import ConfusionMatrix
from mmseg.evaluation.collapse import find_collapse
from mmseg.evaluation.metrics import class_metrics

NAMES = ("road", "train", "bicycle", "sky")
NAN = float("nan")


def values(*iou: float, unlabeled: tuple[int, ...] = ()) -> dict[str, Any]:
    recall = [NAN if c in unlabeled or np.isnan(v) else v for c, v in enumerate(iou)]
    return {"aAcc": 0.5, "IoU": np.array(iou), "Acc": np.array(recall)}


def test_each_class_below_1_percent_is_named_with_what_it_was() -> None:
    found = find_collapse(
        values(0.9, 0.0, 0.0042, 0.5), NAMES, {"road": [0.8, 4000], "train": [0.341, 8000]}, 12000
    )
    assert found.below == ["train", "bicycle"]
    assert found.warning == (
        "IoU below 1 % although the data has labels: "
        "train 0.00 % (fell from 34.1 % at iteration 8000), "
        "bicycle 0.42 % (never above 1 % so far)"
    )


def test_without_such_a_class_there_is_no_warning() -> None:
    found = find_collapse(values(0.9, 0.01, 0.5, 0.2), NAMES, {}, 10)
    assert (found.below, found.warning) == ([], None)


def test_a_class_that_is_absent_or_has_no_labels_is_never_called_out() -> None:
    """Class 1 is neither labeled nor predicted (NaN), class 2 predicted only (IoU 0)."""
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([[0, 0, 2, 0, 3]]), np.array([[0, 0, 0, 3, 3]]))
    metrics = class_metrics(matrix)
    assert np.isnan(metrics["IoU"][1])
    assert metrics["IoU"][2] == 0
    found = find_collapse(metrics, NAMES, {"train": [0.3, 5], "bicycle": [0.2, 6]}, 10)
    assert (found.below, found.warning) == ([], None)
    assert found.class_best["train"] == [0.3, 5]
    assert set(found.class_best) == {"road", "train", "bicycle", "sky"}
    unlabeled = find_collapse(values(NAN, 0.0, 0.0, 0.6, unlabeled=(1,)), NAMES, {}, 10)
    assert unlabeled.below == ["bicycle"]


def test_the_boundary_is_below_1_percent_before_rounding() -> None:
    found = find_collapse(values(0.01, 0.00999, 0.0099999, 0.0058), NAMES, {}, 10)
    assert found.below == ["train", "bicycle", "sky"]
    assert found.warning is not None
    for text in ("train 0.99 %", "bicycle 0.99 %", "sky 0.58 %"):
        assert text in found.warning


def test_the_best_is_remembered_over_evaluations_and_not_overwritten_by_worse_or_equal() -> None:
    best: dict[str, list[Any]] = {}
    rows = [(0.4, 0.002, 0.02, 0.1), (0.6, 0.001, 0.01, 0.1), (0.5, 0.0, 0.0, NAN)]
    for step, row in enumerate(rows, 1):
        before = {name: list(entry) for name, entry in best.items()}
        found = find_collapse(values(*row), NAMES, best, 100 * step)
        assert best == before, "the caller's dict is left alone"
        best = found.class_best
    assert best == {
        "road": [0.6, 200], "train": [0.002, 100], "bicycle": [0.02, 100], "sky": [0.1, 100],
    }  # fmt: skip
    assert found.below == ["train", "bicycle"]
    assert found.warning is not None
    assert "train 0.00 % (never above 1 % so far)" in found.warning
    assert "bicycle 0.00 % (fell from 2.0 % at iteration 100)" in found.warning
    assert all(type(iou) is float for iou, _ in best.values()), "plain values for checkpoints"


def test_a_class_count_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        find_collapse(values(0.5, 0.5), NAMES, {}, 1)
