"""Metrics and tables against values worked by hand, a slow loop and golden H."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmseg.datasets.labels import CLASSES
from mmseg.evaluation import (
    ConfusionMatrix,
    eval_metrics,
    evaluate_dataset,
    intersect_and_union,
    mean_fscore,
    result_record,
    subset_miou,
)
from mmseg.evaluation.metrics import class_metrics
from mmseg.system.errors import ConfigError


@pytest.fixture(scope="module")
def recorded(golden: Path) -> tuple[dict[str, Any], Any]:
    return json.loads((golden / "H/H.json").read_text()), np.load(golden / "H/H.npz")


def same(ours: Any, theirs: Any) -> None:
    """Counts are integers, so only the last bits of float64 divisions may differ."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("metrics", ["mIoU", "mDice", "mFscore", "mIoU+mDice+mFscore"])
@pytest.mark.parametrize("nan_to_num", [None, 0, -1])
def test_eval_metrics_are_those_of_the_golden(recorded: Any, metrics: str, nan_to_num: Any) -> None:
    facts, arrays = recorded
    expected = facts[f"eval_metrics:{metrics}:nan_to_num={nan_to_num}"]
    names = metrics.split("+")
    ours = eval_metrics(
        arrays["preds"], arrays["gts"], 19, 255, metrics=names, nan_to_num=nan_to_num
    )
    assert list(ours) == list(expected)
    for key in expected:
        same(ours[key], expected[key])


def test_beta_label_map_and_zero_label_are_those_of_the_golden(recorded: Any) -> None:
    facts, arrays = recorded
    preds, gts = arrays["preds"], arrays["gts"]
    before = gts.copy()
    cases = {
        "mean_fscore_beta2": mean_fscore(preds, gts, 19, 255, beta=2),
        "reduce_zero_label_mIoU": eval_metrics(preds, gts, 19, 255, reduce_zero_label=True),
        "label_map_mIoU": eval_metrics(preds, gts, 19, 255, label_map={13: 11, 0: 1}),
    }
    for name, ours in cases.items():
        for key, expected in facts[name].items():
            same(ours[key], expected)
    assert (gts == before).all()


def test_intersect_and_union_is_that_of_the_golden(recorded: Any) -> None:
    _, arrays = recorded
    ours = intersect_and_union(arrays["preds"][0], arrays["gts"][0], 19)
    assert (np.stack(ours) == arrays["intersect_and_union_img0"]).all()


@pytest.mark.parametrize("metric", ["mIoU", ["mIoU", "mFscore", "mDice"]])
def test_evaluate_rounds_and_orders_as_the_golden(recorded: Any, metric: Any) -> None:
    facts, arrays = recorded
    expected = facts[f"dataset.evaluate:{metric}"]
    ours = evaluate_dataset(arrays["preds"], arrays["gts"][[0, 3, 2, 1]], CLASSES, metric)
    assert list(ours) == list(expected)
    np.testing.assert_array_equal(list(ours.values()), list(expected.values()))


def test_log_lines_are_those_of_the_golden(recorded: Any, caplog: Any) -> None:
    facts, arrays = recorded
    with caplog.at_level(logging.INFO, "mmseg.table"):
        logger = logging.getLogger("mmseg.table")
        evaluate_dataset(arrays["preds"], arrays["gts"][[0, 3, 2, 1]], CLASSES, "mIoU", logger)
    assert [record.getMessage() for record in caplog.records] == facts["log_lines"]


def test_confusion_matrix_equals_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(3)
    label, prediction = rng.integers(0, 5, (2, 7, 9))
    label[0, :4] = 255
    counts = np.zeros((5, 5), int)
    for want, got in zip(label.ravel(), prediction.ravel(), strict=True):
        if want != 255:
            counts[want, got] += 1
    matrix = ConfusionMatrix(5)
    for row in range(7):
        matrix.update(prediction[row], label[row])
    assert (matrix.counts == counts).all()
    assert matrix.images == 7
    matrix.reduce()  # one process: nothing is added twice
    assert (matrix.counts == counts).all()


def test_sizes_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 4\) and \(4, 3\); evaluate at"):
        ConfusionMatrix(2).update(np.zeros((3, 4), int), np.zeros((4, 3), int))


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'mIou'; did you mean 'mIoU'"):
        class_metrics(ConfusionMatrix(2), "mIou")


def test_subsets_average_the_iou_of_their_own_classes() -> None:
    """IoU c/100: 19 classes average 9; without 9, 14, 16 132/16; also without 3, 4, 5 120/13."""
    means = subset_miou(np.arange(19) / 100)
    assert means == pytest.approx({"mIoU19": 0.09, "mIoU16": 1.32 / 16, "mIoU13": 1.2 / 13})


def test_mIoU16_is_19_sixteenths_when_the_three_others_are_zero() -> None:
    iou = np.linspace(0.1, 0.9, 19)
    iou[[9, 14, 16]] = 0
    means = subset_miou(iou)
    assert means["mIoU16"] == pytest.approx(means["mIoU19"] * 19 / 16)


def test_record_is_plain_json_without_nan() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]))
    values = class_metrics(matrix)
    record = result_record(values, ["a", "b", "c"], matrix.images, split="val", checkpoint="x.pth")
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text) == {
        "split": "val", "checkpoint": "x.pth", "num_images": 1,
        "aAcc": 0.6667, "mIoU": 0.5, "mAcc": 0.75,
        "per_class": {
            "a": {"IoU": 0.5, "Acc": 1.0},
            "b": {"IoU": 0.5, "Acc": 0.5},
            "c": {"IoU": None, "Acc": None},
        },
    }  # fmt: skip
