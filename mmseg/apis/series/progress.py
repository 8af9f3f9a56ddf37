"""How far the runs of a series are, as their folders tell."""

from dataclasses import dataclass
from pathlib import Path

from mmseg.apis.run_names import folders_named
from mmseg.config import Config, load_config
from mmseg.config.run_config import config_hash, read_run
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.evaluation.run_logs import Record, records
from mmseg.system.errors import is_for_user
from mmseg.system.folder_lock import is_in_use

FINISHED, UNFINISHED, NEW, ELSEWHERE = "finished", "to continue", "new", "running elsewhere"
BEST_FIRST = (FINISHED, ELSEWHERE, UNFINISHED)
LOGS = "*.log.json"


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        state: one of `FINISHED`, `UNFINISHED`, `NEW`, `ELSEWHERE`.
        folder: of the run, None for a new one.
        others: folders of runs of this name with another config, or one that cannot be read.
    """

    state: str = NEW
    folder: Path | None = None
    others: tuple[Path, ...] = ()

    @property
    def config(self) -> Path:
        """The resolved config that the run keeps in its folder."""
        assert self.folder is not None
        return kept_config(self.folder)


def kept_config(folder: Path) -> Path:
    """Return where a run that `run_experiments.py` started keeps its resolved config."""
    return folder / f"{folder.name}.py"


def progress_of(name: str, cfg: Config, parent: Path, validates: bool) -> Progress:
    """Find the folder of a run with exactly this config, apart from what `config_hash` leaves out.

    Args:
        name: of the config.
        cfg: whole config with its seed.
        parent: folder in which the runs lie.
        validates: whether a finished run has a result.
    """
    wanted, run = config_hash(cfg), read_run(cfg)
    validates = validates and bool(run.data.val)
    found: dict[str, Path] = {}
    others = []
    for folder in folders_named(parent, name):
        if not kept_config(folder).is_file():
            continue  # it ended before it began
        if _kept_hash(folder) != wanted:
            others.append(folder)
        elif state := _state_of(folder, run.runner.max_iters, validates):
            found[state] = folder
    state = next((state for state in BEST_FIRST if state in found), NEW)
    return Progress(state, found.get(state), tuple(others))


def evaluations(folder: Path) -> dict[int, Record]:
    """Return what a run logged of its evaluations: after how many iterations, which metrics.

    Not from `results.json`, which a later test of the run replaces. Where the logs of several
    starts overlap, the later one counts.
    """
    found = (record for file in sorted(folder.glob(LOGS)) for record in records(file))
    return {record["iter"]: record for record in found if record["mode"] == "val"}


def best_of(evaluated: dict[int, Record]) -> int:
    """Return the first iteration with the highest mIoU, as the best checkpoint is chosen.

    >>> best_of({4: {"mIoU": 0.3}, 6: {"mIoU": None}, 8: {"mIoU": 0.3}})
    4
    """
    scores = {key: record.get("mIoU") for key, record in sorted(evaluated.items())}
    defined = {key: -1.0 if score is None else score for key, score in scores.items()}
    return max(defined, key=lambda key: defined[key])


def _kept_hash(folder: Path) -> str | None:
    try:
        return config_hash(load_config(kept_config(folder)))
    except (ValueError, OSError, ImportError) as error:
        if not is_for_user(error):
            raise
        return None


def _state_of(folder: Path, max_iters: int, validates: bool) -> str | None:
    """Return the state of a run, or None if it has saved nothing yet and does not run."""
    if is_in_use(folder):
        return ELSEWHERE
    files = [file.name for file in CheckpointFolder(folder).files]
    # The last evaluation comes before the last checkpoint. Without any, somebody has deleted them.
    is_saved = f"iter_{max_iters}.pth" in files
    is_evaluated = max_iters in evaluations(folder)
    if (is_evaluated and (is_saved or not files)) if validates else is_saved:
        return FINISHED
    return UNFINISHED if files else None
