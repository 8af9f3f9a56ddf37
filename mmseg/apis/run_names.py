"""Name a run and write the child config that describes it.

A run of the configs under one `exp` lies in `work_dirs/local-<exp>/<name>/`; its child config is
`configs/generated/local-<exp>/<name>.py`. Both are in the current folder, wherever the program is.
"""

import copy
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.config import Config, find_config, load_config
from mmseg.config.language import python_text, unwrap
from mmseg.config.language.sources import SUFFIXES
from mmseg.config.run_config import read_parts
from mmseg.engine.provenance import git_revision
from mmseg.system import processes
from mmseg.system.files import advising, atomic_write
from mmseg.system.shipped import find, root

CONFIGS = Path("configs")
GENERATED = CONFIGS / "generated"
WORK_DIRS = Path("work_dirs")
# JSON files in the folder of a run that are no configs.
RECORDS = ("*.log.json", "results*.json", "repro.json", "in_use_by.json")
STARTUP = {"runner.max_iters": 2, "log_config.interval": 1}
HEX_DIGITS = 5
STAMPED = re.compile(rf"\d{{6}}_\d{{4}}_(.+)_[0-9a-f]{{{HEX_DIGITS}}}", re.DOTALL)


def run_name(name: str) -> str:
    """Return `<yymmdd_HHMM>_<name>_<5 hex digits>`, the same on every process."""
    stamp = time.strftime("%y%m%d_%H%M")
    return processes.broadcast_object(f"{stamp}_{name}_{secrets.token_hex(3)[:HEX_DIGITS]}")


def without_stamp(name: str) -> str:
    """Return what `run_name` was given; any other name as it is.

    >>> without_stamp("260102_0304_a_b_12abc"), without_stamp("a_b")
    ('a_b', 'a_b')
    """
    found = STAMPED.fullmatch(name)
    return found[1] if found else name


def configs_in(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Return the configs in the folder of a run, in the order of `suffixes` and of their names."""
    others = {file for pattern in RECORDS for file in folder.glob(pattern)}
    found = (file for suffix in suffixes for file in sorted(folder.glob(f"*{suffix}")))
    return [file for file in found if file not in others]


def folders_named(parent: Path, name: str) -> list[Path]:
    """Return the folders in `parent` of runs called `name`, oldest first; see `run_name`."""
    found = ((folder, STAMPED.fullmatch(folder.name)) for folder in parent.glob("*"))
    return sorted(folder for folder, stamped in found if stamped and stamped[1] == name)


def child_of_file(
    config: str | Path, options: Mapping[str, Any] | None = None, is_startup_test: bool = False
) -> Path:
    """Write the child config of a config file and return its path.

    `options` are values by dotted path that the run changes, also its `name`, `exp` and `work_dir`;
    a startup test runs two iterations.
    """
    file, options = find_config(config), options or {}
    cfg = load_config(file)
    cfg.merge_options(options)
    run = read_parts(cfg)
    values = {"_base_": [_from_generated(file)]}
    folder = str(run.experiment or "basic")
    return _write_child(values, run.name or file.stem, folder, options, is_startup_test)


def child_of_experiment(
    own: Mapping[str, Any],
    number: int,
    options: Mapping[str, Any] | None = None,
    is_startup_test: bool = False,
) -> Path:
    """Write the child config of one config of experiment `number` and return its path.

    `own`, from `generate_experiment_cfgs`, has values and `_base_` relative to `configs/`.
    """
    values = {**own, "_base_": [_from_generated(base) for base in bases_of_experiment(own)]}
    return _write_child(values, str(own["name"]), f"exp{number}", options or {}, is_startup_test)


def config_of_experiment(own: Mapping[str, Any]) -> Config:
    """Return what a config from `generate_experiment_cfgs` resolves to, without writing a file."""
    bases = [str(base.absolute()) for base in bases_of_experiment(own)]
    return Config.fromstring(python_text({**own, "_base_": bases}), ".py")


def bases_of_experiment(own: Mapping[str, Any]) -> list[Path]:
    """Return the files from which a config of an experiment inherits."""
    bases = [own["_base_"]] if isinstance(own["_base_"], str) else own["_base_"]
    return [find(CONFIGS / base) for base in bases]


def overrides(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a child of `cfg` that resolves to `cfg` with `options`.

    Lists are repeated as a whole, because a child cannot change a single item of them.
    """
    changed = copy.deepcopy(cfg)
    changed.merge_options(options)
    child: dict[str, Any] = {}
    for path in options:
        node, target = changed, child
        *parents, last = path.split(".")
        for part in parents:
            node = node[part]
            if not isinstance(node, dict):
                target[part] = unwrap(node)
                break
            target = target.setdefault(part, {})
        else:
            value = unwrap(node[last])
            target[last] = {"_delete_": True, **value} if isinstance(value, dict) else value
    return child


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `values`, dictionary by dictionary."""
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and "_delete_" not in value:
            value = merge(old, value)
        merged[key] = value
    return merged


def _write_child(
    values: Mapping[str, Any],
    name: str,
    experiment: str,
    options: Mapping[str, Any],
    is_startup_test: bool,
) -> Path:
    """Write values and options together with the run's name, work folder and revision."""
    name = run_name(name)
    folder = f"local-{experiment}" + ("-startup" if is_startup_test else "")
    file = GENERATED / folder / f"{name}.py"
    if processes.is_main():
        work_dir = options.get("work_dir") or (WORK_DIRS / folder / name).as_posix()
        identity = {"name": name, "work_dir": str(work_dir), "git_rev": git_revision()}
        _write_config(file, {**values, **identity})
        options = {**options, **(STARTUP if is_startup_test else {})}
        if options:
            changes = overrides(load_config(file), options)
            _write_config(file, {**merge(values, changes), **identity})
    processes.barrier()
    return file


def _write_config(file: Path, values: Mapping[str, Any]) -> None:
    advice = (
        f"The current folder, '{Path.cwd()}', gets the config of a run and the run itself: change "
        "to a folder of your own, and give the program and --config with their whole paths."
    )
    with advising(advice), atomic_write(file, "w") as stream:
        stream.write(python_text(values))


def _from_generated(file: Path) -> str:
    """Return a config's path relative to a file in `configs/generated/<folder>/`.

    The program's own configs are found by their names, also when it has moved.
    """
    if file.is_absolute() and file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    if file.is_relative_to(CONFIGS):
        return (Path("../..") / file.relative_to(CONFIGS)).as_posix()
    if file.is_relative_to(root() / CONFIGS):
        return file.relative_to(root()).as_posix()
    return (Path("../../..") / file).as_posix()  # an absolute path stays
