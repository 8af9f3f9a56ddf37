"""The beginning and the end of a run in its work folder."""

import ast
import itertools
import logging
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mmseg.apis.checks import check_folder
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.language import python_text
from mmseg.config.run_config import RunConfig
from mmseg.engine.checkpoint import CheckpointError
from mmseg.engine.checkpoint_folder import resume_path
from mmseg.engine.logs import FILE_ONLY, start_logging
from mmseg.engine.seed import choose_seed
from mmseg.system import processes
from mmseg.system.errors import ConfigError, is_for_user
from mmseg.system.files import remove_partials, require_writable
from mmseg.system.folder_lock import only_writer
from mmseg.system.interruption import RunInterrupted
from mmseg.system.outputs import check_output_folder, data_folders
from mmseg.system.shipped import command


@contextmanager
def own_folder(run: RunConfig, options: TrainOptions) -> Iterator[None]:
    """Keep the work folder for this run; raise, on all its processes, if it belongs to another."""
    problem: Any = None
    with ExitStack() as until_the_end:
        if processes.is_main():
            try:
                data = [folder for part in run.data.sections for folder in data_folders(part)]
                check_output_folder(str(run.work_dir), data, "a work folder")
                until_the_end.enter_context(only_writer(Path(str(run.work_dir))))
                check_folder(run, options)
            except (OSError, ConfigError) as error:
                problem = error
        if problem := processes.broadcast_object(problem):
            raise problem
        yield


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
    stem = Path(cfg.filename or "config.py").stem
    path = resume_path(resume, cfg.work_dir, cfg.get("resume_from"))
    cfg["seed"] = choose_seed(cfg.get("seed"), path)
    file: Any = None
    if processes.is_main():
        file = _config_file(Path(cfg.work_dir), stem, cfg.dump())
        cfg.dump(file)
    cfg["resume_from"] = str(path) if path else None
    return processes.broadcast_object(file)


def _config_file(folder: Path, stem: str, text: str) -> Path:
    """Return a name for the run's config that no file has which somebody else wrote."""
    tails = itertools.chain(["", "_resolved"], (f"_resolved_{n}" for n in itertools.count(2)))
    files = (folder / f"{stem}{tail}.py" for tail in tails)
    return next(f for f in files if not _is_taken(f) or _may_be_replaced(f, text))


def _is_taken(file: Path) -> bool:
    return file.is_symlink() or file.exists()


def _may_be_replaced(file: Path, text: str) -> bool:
    """Tell whether a file is this text, or the config that an earlier start of the run kept.

    Such a config reads back to its own text and names its folder. It is not executed, because it
    may be any file.
    """
    try:
        found = file.read_text(encoding="utf-8")
        if found == text:
            return True
        lines = [n for n in ast.parse(found).body if isinstance(n, ast.Assign)]
        values = {ast.unparse(n.targets[0]): ast.literal_eval(n.value) for n in lines}
        is_kept = "seed" in values and "_base_" not in values and python_text(values) == found
        named = Path(values["work_dir"]).resolve().name if is_kept else None
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return named == file.parent.resolve().name


def continue_command(config: Path, *options: str) -> str:
    """Return the command that continues the run from the folder where it was started.

    `options` are those that the config does not hold.
    """
    words = [*command("tools/train.py"), str(config), "--resume", "auto", *options]
    size = processes.world_size()
    note = f" (by the launcher of this run, with {size} processes)" if size > 1 else ""
    return shlex.join(words) + note


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
