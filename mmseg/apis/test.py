"""Test a checkpoint: evaluate it, paint its predictions, write files for a test server."""

import copy
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmseg import distributed
from mmseg.apis.inference import init_segmentor
from mmseg.config import Config, load_config
from mmseg.datasets import build_dataset
from mmseg.datasets.image_files import read_color
from mmseg.engine.checkpoint import NETWORKS
from mmseg.engine.evaluator import (
    RESULTS,
    Evaluation,
    Evaluator,
    has_synthia_source,
    predictions,
    split_name,
    write_results,
)
from mmseg.engine.logs import get_logger, start_logging, stop_logging
from mmseg.evaluation.metrics import check_metrics
from mmseg.files import atomic_write, require_writable
from mmseg.registry import ConfigError, check_keys
from mmseg.visualization.palettes import paint

AUG_RATIOS = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
FORMAT_OPTIONS = ("imgfile_prefix", "to_label_id")
EVAL_MODELS = (*NETWORKS, "both")
RESULT_FILES = {"student": RESULTS, "teacher": "results_teacher.json"}


@dataclass(frozen=True)
class TestOptions:
    """The choices of a command line."""

    __test__ = False  # not a test case for pytest

    config: str
    checkpoint: str
    eval_model: str = "student"  # or 'teacher', or 'both'
    metrics: list[str] = field(default_factory=list)
    show_dir: str | None = None
    opacity: float = 0.5
    out: str | None = None
    format_only: bool = False
    eval_options: Mapping[str, Any] = field(default_factory=dict)
    test_set: bool = False
    aug_test: bool = False
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    work_dir: str | None = None
    launcher: str = "none"
    local_rank: int | None = None  # what torch.distributed.launch gives


class _Sink:
    """Takes predictions one by one: paints them, formats them, keeps them, as wanted."""

    def __init__(self, dataset: Any, options: TestOptions) -> None:
        self.dataset, self.options = dataset, options
        self.kept: list[tuple[int, np.ndarray]] = []

    def take(self, index: int, prediction: np.ndarray) -> None:
        """Take the (H, W) uint8 label map of image `index`."""
        if self.options.show_dir is not None:
            self._paint(self.options.show_dir, index, prediction)
        if self.options.format_only:
            self.dataset.format_results([prediction], indices=[index], **self.options.eval_options)
        if self.options.out is not None:
            self.kept.append((index, prediction))

    def finish(self) -> None:
        """Write what was kept to the `--out` file, in the order of the images."""
        if self.options.out is None:
            return
        parts = distributed.gather_objects(self.kept)
        ordered = [label for _, label in sorted((p for part in parts for p in part), key=_index)]
        if distributed.is_main():
            with atomic_write(self.options.out) as file:
                pickle.dump(ordered, file)
            get_logger().info(f"Wrote {len(ordered)} label maps to {self.options.out}")

    def _paint(self, folder: str, index: int, prediction: np.ndarray) -> None:
        """Write a palette PNG (opacity 1), or the label blended with its image."""
        name = self.dataset.img_infos[index]["filename"]
        image = None
        if self.options.opacity < 1:
            image = read_color(Path(self.dataset.img_dir) / name)[..., ::-1]
        paint((Path(folder) / name).with_suffix(".png"), prediction, image, self.options.opacity)


def run_test(options: TestOptions) -> dict[str, Any]:
    """Label a data set with the network(s) of a checkpoint.

    Returns:
        For 'student' and 'teacher', if tested, the record of its file of results; None for one
        that only painted, formatted or wrote its predictions.
    """
    _check(options)
    device = distributed.init_from_environment(options.launcher, options.local_rank)
    cfg = prepare_test_config(load_config(options.config), options)
    work_dir = Path(options.work_dir or Path(options.checkpoint).parent)
    if distributed.is_main():
        for folder in _written_folders(options, work_dir):
            require_writable(folder)
    logger = start_logging(work_dir / f"test_{time.strftime('%Y%m%d_%H%M%S')}.log")
    try:
        names = NETWORKS if options.eval_model == "both" else (options.eval_model,)
        # All of them before the first is tested: one may be missing.
        networks = {n: init_segmentor(cfg, options.checkpoint, device, n) for n in names}
        dataset = build_dataset(cfg.data.test, test_mode=True)
        logger.info(f"Checkpoint: {options.checkpoint}")
        logger.info(f"Split: {split_name(dataset)}, {len(dataset)} images")
        return {
            name: _test(name, model, dataset, cfg, _options_of(name, options), work_dir)
            for name, model in networks.items()
        }
    finally:
        stop_logging()


def prepare_test_config(cfg: Config, options: TestOptions) -> Config:
    """Return the config with the options that change the test data or its pipeline."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_options(options.cfg_options)
    test = cfg.data.test
    if options.test_set:
        for key, value in test.items():
            if isinstance(value, str) and key not in ("type", "data_root"):
                test[key] = value.replace("val", "test")
    if options.aug_test:
        steps = [s for s in test.pipeline if s["type"] == "MultiScaleFlipAug"]
        if not steps:
            raise ConfigError(
                "expected a step MultiScaleFlipAug in data.test.pipeline for --aug-test, got none; "
                "add it."
            )
        steps[0].update(img_ratios=AUG_RATIOS, flip=True)
    return cfg


def _written_folders(options: TestOptions, work_dir: Path) -> list[Path]:
    """Return where a test writes: what cannot be written is better known before the first image."""
    given = [options.show_dir, options.eval_options.get("imgfile_prefix")]
    given.append(str(Path(options.out).parent) if options.out else None)
    return [work_dir, *(Path(folder) for folder in given if folder)]


def _options_of(network: str, options: TestOptions) -> TestOptions:
    """Return the options for one network: with both, the teacher writes to places of its own."""
    if options.eval_model != "both" or network == "student":
        return options
    formats = dict(options.eval_options)
    if "imgfile_prefix" in formats:
        formats["imgfile_prefix"] = _teachers(formats["imgfile_prefix"])
    return replace(
        options,
        show_dir=_teachers(options.show_dir) if options.show_dir else None,
        out=_teachers(options.out) if options.out else None,
        eval_options=formats,
    )


def _teachers(path: str) -> str:
    """Return a path's twin for the teacher.

    >>> _teachers('preds'), _teachers('labels/out.pkl')
    ('preds_teacher', 'labels/out_teacher.pkl')
    """
    own = Path(path)
    return str(own.with_name(f"{own.stem}_teacher{own.suffix}"))


def _test(
    network: str, model: Any, dataset: Any, cfg: Config, options: TestOptions, work_dir: Path
) -> dict[str, Any] | None:
    """Label every image with the student or the teacher; evaluate if asked to."""
    get_logger().info(f"Network: {network}")
    sink = _Sink(dataset, options)
    workers = cfg.data.get("workers_per_gpu", 0)
    record = None
    if options.metrics:
        evaluator = Evaluator(
            dataset, options.metrics, workers, has_synthia_source(cfg), shows_progress=True
        )
        facts = {"checkpoint": str(options.checkpoint), "network": network}
        evaluation = evaluator(model, sink.take, None, **facts)
        record = evaluation.record
        _report(network, evaluation, write_results(work_dir, record, RESULT_FILES[network]))
    else:
        for index, prediction in predictions(model, dataset, workers, shows_progress=True):
            sink.take(index, prediction)
    sink.finish()
    if options.show_dir is not None:
        get_logger().info(f"Painted predictions: {options.show_dir}")
    return record


def _report(network: str, evaluation: Evaluation, file: Path) -> None:
    """Log every IoU in percent, and where the numbers are."""
    lines = [f"{k}: {100 * v:.1f}" for k, v in evaluation.summary.items() if "IoU" in k]
    get_logger().info(f"IoU of the {network}: {', '.join(lines)}")
    get_logger().info(f"Results of the {network}: {file}")


def _check(options: TestOptions) -> None:
    """Raise `ConfigError` for options that contradict each other, before anything is loaded."""
    check_metrics(options.metrics)
    if options.eval_model not in EVAL_MODELS:
        raise ConfigError(
            f"expected --eval-model {', '.join(EVAL_MODELS)}, got {options.eval_model!r}."
        )
    if options.out is not None and Path(options.out).suffix not in (".pkl", ".pickle"):
        raise ConfigError(f"expected --out with the suffix .pkl, got {options.out!r}.")
    if not 0 < options.opacity <= 1:
        raise ConfigError(f"expected --opacity above 0 and at most 1, got {options.opacity}.")
    if options.format_only and options.metrics:
        raise ConfigError("expected either --eval or --format-only, got both.")
    check_keys(options.eval_options, FORMAT_OPTIONS, "--eval-options")
    if options.format_only and "imgfile_prefix" not in options.eval_options:
        raise ConfigError(
            "expected a folder for --format-only, got none; add "
            "--eval-options imgfile_prefix=FOLDER."
        )


def _index(item: tuple[int, np.ndarray]) -> int:
    return item[0]
