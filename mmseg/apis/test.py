"""Test a checkpoint: evaluate it, paint its predictions, write files for a test server."""

import copy
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from mmseg.apis.checks import check_test
from mmseg.apis.dataset_sections import check_labels
from mmseg.apis.inference import init_segmentor
from mmseg.apis.predicting.segmenter import AUGMENTATION, palette_of, views_step
from mmseg.apis.prediction_files import AttentionPictures, PredictionFiles, check_written
from mmseg.apis.test_options import (
    FIXED_ATTENTION,
    TestOptions,
    check_options,
    check_outputs,
    check_writable,
)
from mmseg.config import Config, load_config
from mmseg.config.run_config import read_parts
from mmseg.config.sections import CompileConfig, DataConfig, PrecisionConfig, each
from mmseg.datasets import build_dataset
from mmseg.datasets.joint import joined
from mmseg.engine.checkpoint import NETWORKS
from mmseg.engine.compilation import compile_for_prediction, require_compiler
from mmseg.engine.evaluator import (
    RESULTS,
    Evaluator,
    has_synthia_source,
    predict_attention,
    predictions,
    split_name,
    write_results,
)
from mmseg.engine.logs import get_logger, start_logging, stop_logging
from mmseg.engine.precision import SHORT_NAMES, Precision, use_tf32
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.outputs import data_folders
from mmseg.system.waiting import set_patience

__all__ = ["TestOptions", "prepare_test_config", "run_test"]
WORD_VAL = re.compile(r"(?<![^\W_])val(?![^\W_])")  # of a path; no part of a longer word


def run_test(options: TestOptions) -> dict[str, Any]:
    """Label a dataset with the network(s) of a checkpoint.

    Returns, for 'student' and 'teacher', if tested, the record of its file of results; None for one
    that only painted, formatted or wrote its predictions.
    """
    check_options(options)
    cfg = prepare_test_config(load_config(options.config), options)
    parts = check_test(cfg)
    data = parts.data
    set_patience(parts.max_wait)
    device = processes.init_from_environment(options.launcher, options.local_rank)
    precision = Precision(PrecisionConfig(options.amp and SHORT_NAMES[options.amp]), device)
    if options.compile is not None:
        require_compiler(device)
    if options.metrics:
        check_labels(data.test)
    work_dir = Path(options.work_dir or Path(options.checkpoint).parent)
    names = NETWORKS if options.eval_model == "both" else (options.eval_model,)
    chosen = {name: options.of_network(name) for name in names}
    folders = [folder for section in data.sections for folder in data_folders(section)]
    for name, own in chosen.items():
        results = work_dir / results_name(name, options.hrda_out)
        read = [str(file) for file in (cfg.filename, options.checkpoint) if file]
        check_outputs(own, read, folders, results)
    if processes.is_main():
        check_writable(options, work_dir)
    logger = start_logging(work_dir / f"test_{time.strftime('%Y%m%d_%H%M%S')}.log")
    try:
        dataset = _dataset_of(data, chosen.values(), folders)
        networks = _networks(cfg, options, names, device)
        logger.info(f"Checkpoint: {options.checkpoint}")
        logger.info(f"Split: {split_name(dataset)}, {len(dataset)} images")
        for line in use_tf32(options.tf32 or None, device):
            logger.info(line)
        with precision.autocast():
            return {
                name: _test(name, model, dataset, data, chosen[name], work_dir)
                for name, model in networks.items()
            }
    finally:
        stop_logging()


def _dataset_of(data: DataConfig, chosen: Iterable[TestOptions], folders: Sequence[Path]) -> Any:
    """Build the test set, and refuse outputs that would replace what is in `folders`."""
    dataset = build_dataset(joined(data.test), test_mode=True)
    for own in chosen:
        server_dir = own.eval_options.get("imgfile_prefix") if own.format_only else None
        if own.format_only:
            dataset.check_format(own.eval_options.get("to_label_id", True))
        check_written(dataset, folders, own.show_dir, server_dir)
    return dataset


def _networks(
    cfg: Config, options: TestOptions, names: Sequence[str], device: torch.device
) -> dict[str, Any]:
    """Return all networks before the first is tested, because one may be missing."""
    networks = {n: init_segmentor(cfg, options.checkpoint, device, n) for n in names}
    for network in networks.values():
        _choose_output(network, options.hrda_out)
        if options.compile is not None:
            compile_for_prediction(network, CompileConfig(options.compile))
    return networks


def prepare_test_config(cfg: Config, options: TestOptions) -> Config:
    """Return the config with the options that change the test data, its pipeline or the windows."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_options(options.cfg_options)
    if not read_parts(cfg).data.test:
        raise ConfigError(f"{cfg.filename}: expected a dataset in data.test, got none. Add it.")
    for test in each(cfg.data.test):
        _change_section(test, options)
    mode = options.inference_mode
    if mode is None:
        return cfg
    chosen = {**(cfg.model.get("test_cfg") or cfg.get("test_cfg") or {}), "mode": mode}
    missing = [key for key in ("crop_size", "stride") if chosen.get(key) is None]
    if mode == "slide" and missing:
        raise ConfigError(
            f"expected crop_size and stride in model.test_cfg for --inference-mode slide, got no "
            f"{' and no '.join(missing)}. Add for example --cfg-options "
            "'model.test_cfg.crop_size=(512,512)' 'model.test_cfg.stride=(256,256)'."
        )
    cfg.model["test_cfg"] = chosen
    return cfg


def _change_section(test: Any, options: TestOptions) -> None:
    """Change the section of a test set as the options say."""
    if options.test_set:
        name_test_split(test)
    if not options.metrics:
        test.pop("test_short_side", None)  # what nobody compares here has the images' own size
    if options.aug_test:
        views_step(test.pipeline, "--aug-test").update(AUGMENTATION)


def name_test_split(section: Any) -> None:
    """Put `test` in place of `val` in the paths of a dataset's section."""
    for key, value in section.items():
        if isinstance(value, str) and key not in ("type", "data_root", "name"):
            section[key] = WORD_VAL.sub("test", value)


def _choose_output(network: Any, hrda_out: str | None) -> None:
    """Make an HRDA network show one scale alone; raise `ConfigError` for any other network."""
    if hrda_out is None:
        return
    if not hasattr(network, "attention_map"):
        raise ConfigError(
            f"expected an HRDA network for --hrda-out {hrda_out}, got {type(network).__name__}, "
            "which has a single scale; drop the option."
        )
    if hrda_out in FIXED_ATTENTION:
        network.decode_head.fixed_attention = FIXED_ATTENTION[hrda_out]


def _test(
    network: str, model: Any, dataset: Any, data: DataConfig, options: TestOptions, work_dir: Path
) -> dict[str, Any] | None:
    """Label every image with the student or the teacher; evaluate if asked to."""
    get_logger().info(f"Network: {network}")
    show_dir, record, label = options.show_dir, None, None
    if options.is_attention:
        files = AttentionPictures(dataset, str(show_dir), options.opacity)
        label = predict_attention
    else:
        formats = options.eval_options if options.format_only else None
        palette = palette_of(model)
        files = PredictionFiles(dataset, show_dir, options.opacity, options.out, formats, palette)
    if options.metrics:
        evaluator = Evaluator(
            dataset, options.metrics, data.workers, has_synthia_source(data), shows_progress=True
        )
        details = {"checkpoint": str(options.checkpoint), "network": network}
        evaluation = evaluator(model, files.take, **details, **options.recorded_choices())
        assert evaluation is not None  # nothing stops it
        record, scale = evaluation.record, options.hrda_out
        file = write_results(work_dir, record, results_name(network, scale))
        ious = [f"{k}: {100 * v:.1f}" for k, v in evaluation.summary.items() if "IoU" in k]
        name = f"{network} ({scale})" if scale else network
        get_logger().info(f"IoU of the {name}: {', '.join(ious)}")
        get_logger().info(f"Results of the {name}: {file}")
    else:
        for index, labeled in predictions(model, dataset, data.workers, True, label):
            files.take(index, labeled)
    files.finish()
    if show_dir is not None:
        painted = "attention" if options.is_attention else "predictions"
        get_logger().info(f"Painted {painted}: {show_dir}")
    if options.format_only:
        get_logger().info(f"Files for a test server: {options.eval_options['imgfile_prefix']}")
    return record


def results_name(network: str, hrda_out: str | None = None) -> str:
    """Return the name of a file of results; only HRDA's whole student has the plain one.

    >>> results_name('student'), results_name('teacher', 'LR')
    ('results.json', 'results_teacher_lr.json')
    """
    parts = [] if network == "student" else [network]
    parts += [] if hrda_out is None else [hrda_out.lower()]
    return "_".join([Path(RESULTS).stem, *parts]) + Path(RESULTS).suffix
