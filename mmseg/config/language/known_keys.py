"""The top-level keys of a config that mean something here or in the family's programs.

Other names at the top level are the user's own variables.
"""

import logging
from collections.abc import Mapping
from typing import Any

# What the program reads, and metadata of a run.
READ = frozenset(
    ["model", "data", "uda", "optimizer", "optimizer_config", "lr_config", "runner", "evaluation"]
    + ["checkpoint_config", "log_config", "seed", "load_from", "resume_from", "work_dir", "name"]
    + ["cudnn_benchmark", "custom_imports", "exp", "n_gpus", "git_rev", "log_level", "sync_bn"]
    + ["amp", "fp16", "tf32", "compile", "max_wait", "train_cfg", "test_cfg"]
)
# What asks for something that this program does elsewhere, and where.
WITHOUT_EFFECT = {
    "custom_hooks": "log_config.hooks for trackers, and for the rest a training method of your own",
    "total_iters": "runner.max_iters",
    "total_epochs": "runner.max_iters",
    "workflow": "evaluation.interval",
    "auto_resume": "--resume auto",
}
# What concerns machinery that this program does not have. Nothing is lost without it.
TECHNICAL = frozenset(
    ["dist_params", "find_unused_parameters", "use_ddp_wrapper", "gpu_model", "gpu_ids", "gpus"]
    + ["opencv_num_threads", "mp_start_method", "device", "launcher"]
)
INERT = TECHNICAL | WITHOUT_EFFECT.keys()
KNOWN = READ | INERT
TRAIN_ONLY = ([("train", 1)], [["train", 1]])  # the family's workflow: what happens here as well


def inert_notice(cfg: Mapping[str, Any], max_iters: int) -> tuple[int, str] | None:
    """Return the level and the text of one line of the log about keys without effect.

    None if the config has no such key. It is a warning if a key asks for something else than what
    the run of `max_iters` iterations does.

    >>> inert_notice({"total_iters": 7, "gpus": 1}, 40)[1]
    'These keys of the config have no effect: gpus, total_iters (use runner.max_iters).'
    """
    given = {key: value for key, value in cfg.items() if key in INERT and value}
    same: dict[str, Any] = {"total_iters": (max_iters,), "workflow": TRAIN_ONLY}
    quiet = [key for key in given if key in TECHNICAL or given[key] in same.get(key, ())]
    origins = getattr(cfg, "origins", {})
    loud = [
        f"{key} ({origins[key] + ', ' if key in origins else ''}use {WITHOUT_EFFECT[key]})"
        for key in given
        if key not in quiet
    ]
    if not quiet and not loud:
        return None
    level = logging.WARNING if loud else logging.INFO
    return level, f"These keys of the config have no effect: {', '.join(quiet + loud)}."
