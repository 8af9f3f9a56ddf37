"""The beginning and the end of a run in its work folder."""

import logging
import shlex
from pathlib import Path

import mmseg
from mmseg.config import Config
from mmseg.config.run_config import RunConfig
from mmseg.engine.checkpoint import CheckpointError
from mmseg.engine.checkpoint_folder import resume_path
from mmseg.engine.logs import FILE_ONLY, start_logging
from mmseg.engine.seed import choose_seed
from mmseg.system import processes
from mmseg.system.errors import is_for_user
from mmseg.system.files import remove_partials, require_writable
from mmseg.system.interruption import RunInterrupted

TRAIN_TOOL = Path(mmseg.__file__).resolve().parents[1] / "tools/train.py"


def open_folder(run: RunConfig, timestamp: str) -> logging.Logger:
    """Make sure the work folder can be written, remove half-written files, start the log."""
    work_dir = Path(str(run.work_dir))
    if processes.is_main():
        require_writable(work_dir)
        remove_partials(work_dir)
    return start_logging(work_dir / f"{timestamp}.log", run.log_level)


def choose_start(cfg: Config, resume: str | None) -> Path:
    """Set the config's `seed` and `resume_from` to what the run really uses, and keep the config.

    The file in the work folder, which is returned, does not name the one that `--resume` chose.
    """
    file = Path(cfg.work_dir) / f"{Path(cfg.filename or 'config.py').stem}.py"
    path = resume_path(resume, cfg.work_dir, cfg.get("resume_from"))
    cfg["seed"] = choose_seed(cfg.get("seed"), path)
    if processes.is_main():
        cfg.dump(file)
    cfg["resume_from"] = str(path) if path else None
    return file


def continue_command(config: Path, *options: str) -> str:
    """Return the command that continues the run from the folder where it was started.

    `options` are those that the config does not hold.
    """
    here = Path.cwd().resolve()
    tool = TRAIN_TOOL.relative_to(here) if TRAIN_TOOL.is_relative_to(here) else TRAIN_TOOL
    command = ["python", str(tool), str(config), "--resume", "auto", *options]
    size = processes.world_size()
    note = f" (by the launcher of this run, with {size} processes)" if size > 1 else ""
    return shlex.join(command) + note


def is_sentence(error: BaseException) -> bool:
    """Tell whether the message of an error is all that a user of a command needs."""
    kinds = (CheckpointError, FloatingPointError, processes.ProcessGroupError)
    return isinstance(error, kinds) or is_for_user(error)


def log_end(logger: logging.Logger, error: Exception) -> None:
    """Write to the log file why a run ended; the command prints it to the console."""
    if isinstance(error, RunInterrupted):
        logger.warning(f"The run was interrupted: {error}", extra=FILE_ONLY)
        return
    details = None if is_sentence(error) else error
    logger.error(f"The run ended early: {error}", extra=FILE_ONLY, exc_info=details)
