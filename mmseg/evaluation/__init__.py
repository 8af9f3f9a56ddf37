"""Confusion matrix → metrics → tables."""

from typing import TYPE_CHECKING

from mmseg.system.lazy_names import lazy_names

if TYPE_CHECKING:
    from mmseg.evaluation.confusion import ConfusionMatrix
    from mmseg.evaluation.metrics import (
        METRICS,
        class_metrics,
        eval_metrics,
        intersect_and_union,
        mean_dice,
        mean_fscore,
        mean_iou,
        summarize,
    )
    from mmseg.evaluation.report import (
        evaluate_dataset,
        metric_tables,
        result_record,
        subset_miou,
        text_table,
    )

__all__ = [
    "METRICS",
    "ConfusionMatrix",
    "class_metrics",
    "eval_metrics",
    "evaluate_dataset",
    "intersect_and_union",
    "mean_dice",
    "mean_fscore",
    "mean_iou",
    "metric_tables",
    "result_record",
    "subset_miou",
    "summarize",
    "text_table",
]
__getattr__ = lazy_names(
    __name__,
    {
        "confusion": ("ConfusionMatrix",),
        "metrics": (
            *("METRICS", "class_metrics", "eval_metrics", "intersect_and_union", "mean_dice"),
            *("mean_fscore", "mean_iou", "summarize"),
        ),
        "report": (
            *("evaluate_dataset", "metric_tables", "result_record", "subset_miou", "text_table"),
        ),
    },
)
