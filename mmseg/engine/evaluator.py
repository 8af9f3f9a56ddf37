"""Label a dataset with a network, and measure how right it is.

Legend: C classes, H×W pixels of the original image.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmseg.config.sections import DataConfig
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.joint import Group, JointDataset, group_of, groups_of, parts_of
from mmseg.datasets.labels import CLASSES
from mmseg.engine.logs import get_logger
from mmseg.engine.memory_advice import explains_full_evaluation
from mmseg.evaluation.collapse import ClassBest, find_collapse
from mmseg.evaluation.confusion import ConfusionMatrix
from mmseg.evaluation.metrics import class_metrics, summarize
from mmseg.evaluation.report import (
    group_records,
    log_groups,
    log_subsets,
    log_tables,
    result_record,
    subset_miou,
)
from mmseg.system import processes
from mmseg.system.files import write_json
from mmseg.system.interruption import RunInterrupted
from mmseg.system.waiting import beat
from mmseg.system.workers import WorkerError

RESULTS = "results.json"
SYNTHIA = "SynthiaDataset"


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one dataset: per class (C,), by name, and as `results.json` holds them."""

    values: Mapping[str, Any]
    summary: Mapping[str, Any]
    record: dict[str, Any]

    @property
    def score(self) -> float:
        """The rounded mIoU that decides which checkpoint is the best; -1 if it is undefined."""
        miou = self.record["mIoU"]
        return -1.0 if miou is None else miou


class Evaluator:
    """Evaluates a network on a dataset.

    `ValueError` if the dataset names no classes, or if no pixel of its labels has one: then there
    is nothing to measure. It looks at its first label, and at others only if that has none.

    Args:
        dataset: with labels (`gt_label`) and `CLASSES`.
        metric: 'mIoU' or a list of metrics; mIoU is always among them.
        workers: processes that read images.
        with_subsets: also report mIoU over 16 and 13 classes, for runs whose source is SYNTHIA;
            without effect on other classes than the 19 of which these are parts.
        shows_progress: draw a progress bar.
    """

    def __init__(
        self,
        dataset: Any,
        metric: str | Sequence[str] = "mIoU",
        workers: int = 0,
        with_subsets: bool = False,
        shows_progress: bool = False,
    ) -> None:
        names = [metric] if isinstance(metric, str) else list(metric)
        self.metrics = names if "mIoU" in names else ["mIoU", *names]
        self.dataset, self.workers = dataset, workers
        self.with_subsets = with_subsets and len(dataset.CLASSES) == len(CLASSES)
        self.shows_progress = shows_progress
        if isinstance(dataset, CustomDataset | JointDataset):
            dataset.require_classes()
            dataset.require_labeled()

    def __call__(
        self,
        segmentor: nn.Module,
        on_prediction: Callable[[int, np.ndarray], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        **details: Any,
    ) -> Evaluation | None:
        """Label every image, compare with its label, and log the tables.

        Args:
            segmentor: the network; it is in eval mode during the call only.
            on_prediction: called with (index, (H, W) uint8 label map) of every image.
            should_stop: asked before every image; True makes this process predict no further.
            **details: further entries of the record, for example the checkpoint.

        Returns None, on every process, if `should_stop` was True on any of them. `WorkerError` on
        every process if the workers of any cannot go on.
        """
        parts = {group: self._new_matrix() for group in groups_of(self.dataset)}
        lost, is_stopped = None, False
        try:
            is_stopped = self._count(parts, segmentor, on_prediction, should_stop or _never)
        except RunInterrupted:  # while it waited for an image
            is_stopped = True
        except WorkerError as error:
            lost = error
        if losses := [text for text in processes.gather_objects(lost and str(lost)) if text]:
            raise lost or WorkerError(losses[0])
        if processes.any_process(is_stopped):
            return None
        for part in parts.values():
            part.reduce()
        sets = {name: self._sum(parts, name) for name, _ in parts}
        matrix = next(iter(sets.values()))
        names, split = self.dataset.CLASSES, split_name(self.dataset)
        if not matrix.label_pixels.any():
            raise ValueError(
                f"expected labels of {split} with pixels of a class, got ignored pixels alone in "
                f"all {matrix.images} labels. Check ann_dir and the labels."
            )
        values = class_metrics(matrix, self.metrics)
        get_logger().info(f"Results on {split}, {matrix.images} images:")
        log_tables(values, names, get_logger())
        summary = summarize(values, names)
        if self.with_subsets:
            log_subsets(values, get_logger())
            summary |= {k: round(v, 4) for k, v in subset_miou(values["IoU"]).items()}
        details = {"split": split, **details}
        record = result_record(values, names, matrix.images, self.with_subsets, **details)
        groups = self._report(parts, sets, record)
        summary |= {f"{name}.mIoU": group["mIoU"] for name, group in groups.items()}
        return Evaluation(values, summary, record)

    def _report(
        self,
        parts: Mapping[Group, ConfusionMatrix],
        sets: Mapping[str | None, ConfusionMatrix],
        record: dict[str, Any],
    ) -> dict[str, Any]:
        """Add what each dataset and condition has to the record, log it, and return it."""
        main, found = next(iter(sets)), {}
        groups = {
            ("val_sets", "dataset"): sets if len(sets) > 1 else {},
            ("conditions", "condition"): {c: m for (s, c), m in parts.items() if s == main and c},
        }
        for (key, title), chosen in groups.items():
            if chosen:
                named = {str(name): matrix for name, matrix in chosen.items()}
                record[key] = group_records(named, self.dataset.CLASSES)
                log_groups(record[key], title, get_logger())
                found |= record[key]
        return found

    def _new_matrix(self) -> ConfusionMatrix:
        return ConfusionMatrix(len(self.dataset.CLASSES), self.dataset.ignore_index)

    def _sum(self, parts: Mapping[Group, ConfusionMatrix], name: str | None) -> ConfusionMatrix:
        """Return the counts of all images of one dataset."""
        total = self._new_matrix()
        for (own, _), matrix in parts.items():
            if own == name:
                total.add(matrix)
        return total

    def _count(
        self,
        parts: Mapping[Group, ConfusionMatrix],
        segmentor: nn.Module,
        on_prediction: Callable[[int, np.ndarray], None] | None,
        should_stop: Callable[[], bool],
    ) -> bool:
        """Count this process's images, and tell whether `should_stop` ended that early."""
        if should_stop():
            return True
        images = predictions(segmentor, self.dataset, self.workers, self.shows_progress)
        with closing(images):  # on an early stop, it restores the network's mode and ends workers
            for index, prediction in images:
                beat(f"image {index} of an evaluation")
                parts[group_of(self.dataset, index)].update(
                    prediction, self.dataset.gt_label(index)
                )
                if on_prediction is not None:
                    on_prediction(index, prediction)
                if should_stop():
                    return True
        return False


def _never() -> bool:
    return False


def note_collapse(
    evaluation: Evaluation, class_best: ClassBest, iteration: int
) -> tuple[Evaluation, ClassBest]:
    """Name classes below 1 % in the log, and as 'below_1_percent' in summary and record.

    `class_best` is the best IoU per class so far; it comes back with this evaluation included.
    """
    names = list(evaluation.record["per_class"])
    found = find_collapse(evaluation.values, names, class_best, iteration)
    if found.warning is not None:
        get_logger().warning(found.warning)
    below = {"below_1_percent": found.below}
    summary, record = {**evaluation.summary, **below}, {**evaluation.record, **below}
    return replace(evaluation, summary=summary, record=record), found.class_best


def predictions(
    segmentor: nn.Module,
    dataset: Any,
    workers: int = 0,
    shows_progress: bool = False,
    label: Callable[[nn.Module, Mapping[str, Any]], np.ndarray] | None = None,
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield (index, (H, W) map) for this process's share of a dataset, one after the other.

    Args:
        segmentor: the network; it is in eval mode until the last map.
        dataset: the images; their labels are not read.
        workers: processes that read images.
        shows_progress: draw a progress bar.
        label: makes the map of one image; by default `predict`, whose maps are labels (uint8).
    """
    from tqdm import tqdm

    from mmseg.datasets.loader import build_test_loader

    loader = build_test_loader(dataset, workers, processes.rank(), processes.world_size())
    is_hidden = not (shows_progress and processes.is_main())
    bar = tqdm(total=len(dataset), desc="Testing", unit="image", disable=is_hidden)
    label, device = label or predict, next(segmentor.parameters()).device
    was_training = segmentor.training
    segmentor.eval()
    try:
        with bar:
            for index, batch in loader:
                with explains_full_evaluation(segmentor, batch, device):
                    result = label(segmentor, batch)
                yield index, result
                bar.update(min(processes.world_size(), len(dataset) - bar.n))
    finally:
        segmentor.train(was_training)


@torch.no_grad()
def predict(segmentor: Any, batch: Mapping[str, Any]) -> np.ndarray:
    """Return the (H, W) uint8 label map of one image, given as one entry per augmentation."""
    labels = segmentor.forward_test(_on_device(segmentor, batch["img"]), batch["img_metas"])
    return np.asarray(labels[0]).astype(np.uint8)


@torch.no_grad()
def predict_attention(segmentor: Any, batch: Mapping[str, Any]) -> np.ndarray:
    """Return HRDA's attention in one image, given as one entry per augmentation.

    It is (H, W) float32 from 0 (context alone) to 1 (detail alone).
    """
    pairs = zip(_on_device(segmentor, batch["img"]), batch["img_metas"], strict=True)
    maps = [segmentor.attention_map(image, metas, rescale=True) for image, metas in pairs]
    return torch.stack(maps).mean(0)[0].float().cpu().numpy()


def _on_device(segmentor: nn.Module, images: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    device = next(segmentor.parameters()).device
    return [image.to(device, non_blocking=True) for image in images]


def split_name(dataset: Any) -> str:
    """Name what is evaluated: the folder of the images, and the file that lists them, if any."""
    dataset = parts_of(dataset)[0]
    folder = str(getattr(dataset, "img_dir", None) or type(dataset).__name__)
    folder += f"/*/{part}" if (part := getattr(dataset, "part", None)) else ""
    split = getattr(dataset, "split", None)
    return f"{folder} ({split})" if split else folder


def has_synthia_source(data: DataConfig) -> bool:
    """Tell whether a run trains on SYNTHIA's labels."""
    return {section.get("type") for section in data.sources} == {SYNTHIA}


def write_results(folder: str | Path, record: Mapping[str, Any], name: str = RESULTS) -> Path:
    """Write `results.json` (or another file); only the main process does."""
    file = Path(folder) / name
    if processes.is_main():
        write_json(file, record, allow_nan=False)
    return file
