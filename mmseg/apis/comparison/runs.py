"""Find runs by their logs, and put those together that differ in the seed alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.apis.run_names import configs_in, without_stamp
from mmseg.apis.series.progress import LOGS, evaluations, kept_config
from mmseg.apis.series.runs import group_of
from mmseg.config import Config, load_config
from mmseg.config.run_config import NOT_HASHED, config_hash, read_parts, read_run
from mmseg.system.errors import ConfigError
from mmseg.system.outputs import check_output_file, check_output_folder, data_folders

DEPTH = 2  # folders between a given one and its runs, such as work_dirs/local-exp80/RUN


@dataclass(frozen=True)
class Run:
    """A run as its folder tells.

    Attributes:
        folder: with logs and config.
        name: of its config, without date, seed and hexadecimal digits.
        seed: of its config.
        config: with everything it inherits.
        max_iters: at which it is finished.
        last: the iteration of its last evaluation, None without any.
    """

    folder: Path
    name: str
    seed: int | None
    config: Config
    max_iters: int
    last: int | None

    @property
    def is_finished(self) -> bool:
        """Whether it has been evaluated after its last iteration."""
        return self.last == self.max_iters

    @property
    def values(self) -> dict[str, Any]:
        """The config without its seed, and without what only names a run."""
        left_out = (*NOT_HASHED, "seed")
        return {key: value for key, value in self.config.items() if key not in left_out}


Group = Mapping[int | None, Run]  # runs of one config by seed
Groups = Mapping[str, Group]


def find_runs(places: Iterable[str | Path]) -> list[Run]:
    """Return the runs whose folders are given, or lie at most two folders below a given one.

    `ConfigError` for a place without any.
    """
    folders: dict[Path, Path] = {}
    for place in map(Path, places):
        found = [place, *(p for n in range(DEPTH) for p in sorted(place.glob("*/" * n + "*/")))]
        runs = [folder for folder in found if any(folder.glob(LOGS))]
        if not runs:
            raise ConfigError(
                f"expected the work folder of a run, with a log ({LOGS}), or a folder with such, "
                f"got '{place}'. Give for example work_dirs/local-basic."
            )
        folders.update({folder.resolve(): folder for folder in runs})
    return [read_run_folder(folder) for folder in folders.values()]


def read_run_folder(folder: Path) -> Run:
    """Read what the folder of a run tells."""
    cfg = load_config(_config_of(folder))
    name = str(read_parts(cfg).name or Path(str(cfg.filename)).stem)
    last = max(evaluations(folder), default=None)
    run = read_run(cfg)
    return Run(
        folder, group_of(without_stamp(name)), run.seed, cfg, run.runner.max_iters, last
    )  # fmt: skip


def grouped(runs: Iterable[Run]) -> dict[str, dict[int | None, Run]]:
    """Return the runs by name and seed.

    Runs of one name whose configs differ in more than the seed, or that repeat a seed, are groups
    of their own: `name`, `name (2)`, ….
    """
    groups: dict[str, dict[int | None, Run]] = {}
    for run in runs:
        number, title = 1, run.name
        while title in groups and not _belongs(run, groups[title]):
            number += 1
            title = f"{run.name} ({number})"
        groups.setdefault(title, {})[run.seed] = run
    return groups


def check_outputs(
    folder: Path,
    files: Mapping[str, Any],
    configs: Iterable[Config],
    folders: Iterable[Path] = (),
) -> None:
    """Raise `ConfigError` if what is written would replace anything else.

    `files` are names in `folder`, with what tells whether a file there may be replaced; read are
    the data of `configs`, and `folders` of runs.
    """
    sections = [part for cfg in configs for part in read_parts(cfg).data.sections]
    data = [place for part in sections for place in data_folders(part)]
    read = list(dict.fromkeys([*folders, *data]))
    check_output_folder(folder, read, "a folder of reports")
    for name, is_own in files.items():
        check_output_file(folder / name, read, "a file to write", is_own)


def _belongs(run: Run, group: Group) -> bool:
    first = next(iter(group.values()))
    return run.seed not in group and config_hash(run.values) == config_hash(first.values)


def _config_of(folder: Path) -> Path:
    """Return the resolved config in the folder of a run, as `test.sh` finds it."""
    if kept_config(folder).is_file():
        return kept_config(folder)
    found = configs_in(folder, (".py", ".json"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ConfigError(
            f"expected one config, the one that the run kept, in '{folder}', got {names}. Keep "
            "the run's own one there, or leave the folder out."
        )
    return found[0]
