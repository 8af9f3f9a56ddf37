"""Find the checkpoint that a run continues from, and restore its optimizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmseg.engine.checkpoint import CheckpointError
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.engine.logs import get_logger
from mmseg.system import processes

# How an optimizer computes; it decides on which device torch restores the number of its steps.
KERNELS = ("fused", "foreach", "capturable")


def resume_path(option: str | None, work_dir: str | Path, configured: str | None) -> Path | None:
    """Return the checkpoint to resume from, or None for a fresh start.

    Process 0 decides, so call it on all processes together.

    Args:
        option: `--resume`: a path; 'auto' for the newest complete checkpoint of the work folder,
            if it has any; 'none'; or None to follow the config.
        work_dir: of the run.
        configured: `cfg.resume_from`.

    Raises:
        CheckpointError: if the work folder has checkpoints, none of which is complete.
    """
    if option == "none":
        return None
    if option != "auto":
        chosen = option or configured
        return Path(chosen) if chosen else None
    found = _newest_complete(work_dir) if processes.is_main() else None
    found = processes.broadcast_object(found)
    if isinstance(found, str):
        raise CheckpointError(found)
    return found


def _newest_complete(work_dir: str | Path) -> Path | str | None:
    """Return the newest complete checkpoint, None without any file, else what to do with them."""
    folder = CheckpointFolder(work_dir)
    found = folder.newest_complete()
    if found is not None:
        return found
    if names := ", ".join(file.name for file in folder.files):
        return (
            f"expected a complete checkpoint in {str(work_dir)!r}, got none: {names} cannot be "
            "continued from (the log says why); delete them or use --resume none to train from "
            "the start, or name another file with --resume PATH."
        )
    get_logger().info(f"No checkpoint in {str(work_dir)!r}: the run starts from the beginning.")
    return None


def restore_optimizer(
    optimizer: torch.optim.Optimizer, checkpoint: Mapping[str, Any], what: str
) -> None:
    """Restore the optimizer's state from a checkpoint of the same run.

    Raises:
        CheckpointError: if the checkpoint has none, or one of other parameters.
    """
    state = checkpoint.get("optimizer")
    if not state:
        raise CheckpointError(
            f"expected the optimizer's state in the {what}, got none; it can be tested, or be "
            "the start of a new run with --cfg-options load_from=PATH, but not resumed."
        )
    ours = [len(group["params"]) for group in optimizer.param_groups]
    theirs = [len(group["params"]) for group in state["param_groups"]]
    if ours != theirs:
        raise CheckpointError(
            f"expected the optimizer's state of {len(ours)} groups of {_sizes(ours)} parameters in "
            f"the {what}, got {len(theirs)} groups of {_sizes(theirs)}; resume with the config of "
            "the interrupted run, or start a new one with --cfg-options load_from=PATH."
        )
    groups = [
        {**saved, **{key: own[key] for key in KERNELS if key in own}}
        for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


def _sizes(counts: list[int]) -> str:
    """Write the sizes of the first few groups."""
    return ", ".join(map(str, counts[:4])) + (", …" if len(counts) > 4 else "")
