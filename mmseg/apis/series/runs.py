"""Which runs a series has: the configs of an experiment, or one config with several seeds."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmseg.apis.run_names import (
    WORK_DIRS,
    bases_of_experiment,
    child_of_experiment,
    child_of_file,
    config_of_experiment,
)
from mmseg.config import Config, find_config, load_config
from mmseg.config.run_config import read_parts
from mmseg.system.errors import ConfigError

SEED_OF_NAME = re.compile(r"_s\d+$")
SHOWN_BASES = ("datasets", "models", "uda")  # folders of the bases that tell configs apart


@dataclass(frozen=True)
class SeriesRun:
    """One run of a series.

    Attributes:
        name: of its config.
        group: the name without the seed; runs of a group differ in the seed alone.
        seed: None if nothing says it.
        origin: what the config is made of, for people.
        read: returns the config before `changes`, without writing a file.
        write_child: writes the child config of a new run and returns its path; it takes whether
            that is a startup test.
        changes: values by dotted path that the run changes.
        bases: files from which the config inherits, as far as they are known without reading it.
    """

    name: str
    group: str
    seed: int | None
    origin: str
    read: Callable[[], Config]
    write_child: Callable[[bool], Path]
    changes: Mapping[str, Any]
    bases: Sequence[Path] = ()

    def config(self) -> Config:
        """Return the whole config, read from its files now."""
        cfg = self.read()
        cfg.merge_options(self.changes)
        return cfg


def runs_of_experiment(
    configs: Iterable[Mapping[str, Any]],
    number: int,
    changes: Mapping[str, Any],
    seeds: Sequence[int] = (),
) -> list[SeriesRun]:
    """Return the runs of experiment `number`, with its own seeds or with others.

    `configs` are what `generate_experiment_cfgs` returns; those whose names differ in `_s<seed>`
    alone are one group.
    """
    groups: dict[str, dict[int, Mapping[str, Any]]] = {}
    for own in configs:
        groups.setdefault(group_of(own["name"]), {})[own["seed"]] = own
    runs = []
    for group, known in groups.items():
        usual = next(iter(known.values()))
        for seed in dict.fromkeys(seeds or known):
            own = known.get(seed) or {**usual, "seed": seed, "name": f"{group}_s{seed}"}
            bases = bases_of_experiment(own)
            origin = ", ".join(b.stem for b in bases if b.parent.name in SHOWN_BASES)
            read = partial(config_of_experiment, own)
            write = partial(child_of_experiment, own, number, changes)
            run = SeriesRun(own["name"], group, seed, origin, read, write, changes, bases)
            runs.append(run)
    return runs


def runs_of_config(
    config: str, changes: Mapping[str, Any], seeds: Sequence[int] = ()
) -> list[SeriesRun]:
    """Return the runs of a config with several seeds, or its one run as it is without any."""
    file = find_config(config)
    cfg = load_config(file)
    cfg.merge_options(changes)
    name = read_parts(cfg).name or file.stem
    group = group_of(name) if seeds else name
    runs = []
    for seed in dict.fromkeys(seeds):
        own = {**changes, "seed": seed, "name": f"{group}_s{seed}"}
        runs.append(_run_of_file(file, own, group))
    return runs or [_run_of_file(file, {**changes, "name": name}, group, cfg.get("seed"))]


def folder_of_config(config: str, changes: Mapping[str, Any]) -> Path:
    """Return the folder in which the runs of a config lie."""
    cfg = load_config(config)
    cfg.merge_options(changes)
    return folder_of(str(read_parts(cfg).experiment or "basic"))


def folder_of(experiment: str) -> Path:
    """Return the folder in which the runs of an experiment lie."""
    return WORK_DIRS / f"local-{experiment}"


def chosen(runs: Sequence[SeriesRun], pattern: str | None) -> list[SeriesRun]:
    """Return the runs whose name holds `pattern`, or matches it as a shell pattern.

    `ConfigError` with the names if there are none.
    """
    if pattern is None:
        return list(runs)
    found = [r for r in runs if pattern in r.name or fnmatch.fnmatchcase(r.name, pattern)]
    if not found:
        names = "".join(f"\n  {run.name}" for run in runs)
        raise ConfigError(
            f"expected --only with a part of a name or a pattern such as '*_s0', got {pattern!r}, "
            f"which fits none of these:{names}"
        )
    return found


def _run_of_file(
    file: Path, changes: Mapping[str, Any], group: str, seed: int | None = None
) -> SeriesRun:
    read, write = partial(load_config, file), partial(child_of_file, file, changes)
    seed = changes.get("seed", seed)
    return SeriesRun(changes["name"], group, seed, str(file), read, write, changes)


def group_of(name: str) -> str:
    """Return a name without its seed.

    >>> group_of("gta2cs_dacs_s13"), group_of("gta2cs")
    ('gta2cs_dacs', 'gta2cs')
    """
    return SEED_OF_NAME.sub("", name)
