"""The beginning and the end of a run in its work folder."""

import logging
import shlex
from pathlib import Path

import mmseg
from mmseg.config import Config
from mmseg.engine.checkpoint import CheckpointError, read_checkpoint
from mmseg.engine.environment import choose_seed
from mmseg.engine.logs import FILE_ONLY, start_logging
from mmseg.engine.resume import resume_path
from mmseg.system import processes
from mmseg.system.errors import is_for_user
from mmseg.system.files import remove_partials, require_writable
from mmseg.system.interruption import RunInterrupted

TRAIN_TOOL = Path(mmseg.__file__).resolve().parents[1] / "tools/train.py"


def open_folder(cfg: Config, timestamp: str) -> logging.Logger:
    """Prove that the work folder can be written, clear it of half-written files, start the log."""
    work_dir = Path(cfg.work_dir)
    if processes.is_main():
        require_writable(work_dir)
        remove_partials(work_dir)
    return start_logging(work_dir / f"{timestamp}.log", cfg.get("log_level") or "INFO")


def choose_start(cfg: Config, seed: int | None, resume: str | None) -> None:
    """Set the config's `seed` and `resume_from` to what the run really uses.

    A resumed run without a stated seed keeps the one that it was started with. The config that is
    kept in the work folder does not name the file that `--resume` chose this time.

    Args:
        cfg: with `work_dir`; changed in place.
        seed: of the command line.
        resume: `--resume`, see `resume_path`.
    """
    path = resume_path(resume, cfg.work_dir, cfg.get("resume_from"))
    stated = seed if seed is not None else cfg.get("seed")
    if stated is None and path is not None:
        stated = read_checkpoint(path).get("seed")
    cfg["seed"] = choose_seed(stated)
    if processes.is_main():
        cfg.dump(config_file(cfg))
    cfg["resume_from"] = str(path) if path else None


def config_file(cfg: Config) -> Path:
    """Return where the run keeps its resolved config."""
    return Path(cfg.work_dir) / f"{Path(cfg.filename or 'config.py').stem}.py"


def continue_command(cfg: Config, *options: str) -> str:
    """Return the command that continues the run from the folder where it was started.

    Args:
        cfg: with `work_dir`.
        *options: further options that are not in the config.
    """
    tool, here = TRAIN_TOOL, Path.cwd().resolve()
    if tool.is_relative_to(here):
        tool = tool.relative_to(here)
    command = ["python", str(tool), str(config_file(cfg)), "--resume", "auto", *options]
    size = processes.world_size()
    note = f" (by the launcher of this run, with {size} processes)" if size > 1 else ""
    return shlex.join(command) + note


def is_sentence(error: BaseException) -> bool:
    """Tell whether the message of an error is all that a user of a command needs."""
    kinds = (CheckpointError, FloatingPointError, processes.ProcessGroupError)
    return isinstance(error, kinds) or is_for_user(error)


def log_end(logger: logging.Logger, error: Exception) -> None:
    """Write to the file of the log why a run ended; the command tells it to the console."""
    if isinstance(error, RunInterrupted):
        logger.warning(f"The run was interrupted: {error}", extra=FILE_ONLY)
        return
    details = None if is_sentence(error) else error
    logger.error(f"The run ended early: {error}", extra=FILE_ONLY, exc_info=details)
