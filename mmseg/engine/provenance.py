"""`repro.json`: what a run was started with, so that it can be told apart and repeated."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import mmseg
from mmseg.datasets.fingerprint import dataset_fingerprint
from mmseg.datasets.rare_class_sampling import IMAGES_FILE, STATISTICS_FILE
from mmseg.engine.environment import CUBLAS_WORKSPACE, git_output
from mmseg.engine.logs import get_logger
from mmseg.system import processes
from mmseg.system.files import atomic_write

REPRO = "repro.json"
EARLIER = "earlier_starts"
CROP_SETTINGS = "preprocessing.json"  # run_seg.py leaves it beside the crops
# They name a run or say where it goes on, not what it computes.
NOT_HASHED = ("work_dir", "resume_from", "name", "git_rev")
CHUNK = 2**20  # bytes


def write_repro(
    work_dir: str | Path,
    cfg: Mapping[str, Any],
    dataset: Any,
    device: torch.device,
    deterministic: bool = False,
    launcher: str = "none",
) -> None:
    """Write `repro.json` into the work folder; all processes call it, the main one writes.

    The record of this start is on top; those of earlier starts in the same folder are kept in its
    list `earlier_starts`, newest first. What cannot be found is recorded as missing.

    Args:
        work_dir: of the run.
        cfg: the resolved config, `seed` included.
        dataset: for training.
        device: of this process.
        deterministic: whether --deterministic was given.
        launcher: how processes were started.
    """
    devices = processes.gather_objects(device_name(device))
    if not processes.is_main():
        return
    record = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": {"arguments": sys.argv, "folder": str(Path.cwd()), "launcher": launcher},
        "code": code_state(Path(__file__).parents[2]),
        "versions": versions(),
        "processes": len(devices),
        "devices": devices,
        "threads_per_process": torch.get_num_threads(),
        "seed": cfg.get("seed"),
        "deterministic": deterministic,
        CUBLAS_WORKSPACE: os.environ.get(CUBLAS_WORKSPACE),
        "config": {
            "sha256": config_hash(cfg),
            "note": "hash of the values, whatever their order and formatting; without "
            + ", ".join(NOT_HASHED),
        },
        "data": data_fingerprints(dataset),
        "files": {name: file_hash(path) for name, path in files_of_run(cfg, dataset)},
    }
    path = Path(work_dir) / REPRO
    record[EARLIER] = _earlier_starts(path)
    with atomic_write(path, "w") as stream:
        json.dump(record, stream, indent=2)


def versions() -> dict[str, Any]:
    """Return the versions of everything that computes; None is not there."""
    return {
        "cdda-seg": mmseg.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "os": platform.platform(),
    }


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or `CPU` with what is known of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.processor() or platform.machine()}"


def code_state(folder: Path) -> dict[str, str | None]:
    """Return the git revision of the program in `folder`, and whether its files are changed.

    'tree' is 'clean', 'uncommitted changes' (in files that git knows) or 'not a checkout'.
    """
    try:
        # An installed copy may lie inside of another project's checkout, which does not know it.
        git_output(folder, "ls-files", "--error-unmatch", "mmseg/__init__.py")
        revision = git_output(folder, "rev-parse", "HEAD")
        changes = git_output(folder, "status", "--porcelain", "-uno")
    except (OSError, subprocess.SubprocessError):
        return {"revision": None, "tree": "not a checkout"}
    return {"revision": revision, "tree": "uncommitted changes" if changes else "clean"}


def config_hash(cfg: Mapping[str, Any]) -> str:
    """Hash the values of a config; see `NOT_HASHED` for what does not count.

    >>> config_hash({"a": (1, 2), "b": 3}) == config_hash({"b": 3, "work_dir": "x", "a": [1, 2]})
    True
    """
    values = {key: value for key, value in cfg.items() if key not in NOT_HASHED}
    return hashlib.sha256(json.dumps(_ordered(values), default=str).encode()).hexdigest()


def data_fingerprints(dataset: Any) -> dict[str, Any]:
    """Return the fingerprints of source and target, or of the one dataset that is trained on."""
    if hasattr(dataset, "source") and hasattr(dataset, "target"):
        domains = {"source": dataset.source, "target": dataset.target}
    else:
        domains = {"train": dataset}
    return {name: dataset_fingerprint(domain) for name, domain in domains.items()}


def files_of_run(cfg: Mapping[str, Any], dataset: Any) -> Iterator[tuple[str, Path]]:
    """Yield (key of the config, path) of the files whose content decides what is computed."""
    yield from _pretrained(cfg.get("model") or {}, "model")
    uda = cfg.get("uda") or {}
    named = {key: cfg.get(key) for key in ("load_from", "resume_from")}
    named["uda.matrix_path"] = uda.get("matrix_path")
    crops = uda.get("croped_images_path")
    named["uda.croped_images_path"] = crops and Path(crops).parent / CROP_SETTINGS
    yield from ((name, Path(path)) for name, path in named.items() if path)
    root = getattr(getattr(dataset, "source", None), "data_root", None)
    if getattr(dataset, "rare_class_sampling", None) is not None and root is not None:
        for name in (STATISTICS_FILE, IMAGES_FILE):
            yield f"data.train.source: {name}", Path(root) / name


def file_hash(path: Path) -> dict[str, Any]:
    """Return path, size in bytes and SHA-256 of a file; without the latter two, it is missing."""
    if not path.is_file():
        return {"path": str(path), "missing": True}
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _ordered(value: Any) -> Any:
    """Return nested values whose JSON does not depend on the order of keys."""
    if isinstance(value, Mapping):
        return {str(key): _ordered(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def _pretrained(section: Any, name: str) -> Iterator[tuple[str, Path]]:
    """Yield (key, path) of every `pretrained` in a section, however deep."""
    for key, value in section.items():
        if key == "pretrained" and isinstance(value, str):
            yield f"{name}.{key}", Path(value)
        elif isinstance(value, Mapping):
            yield from _pretrained(value, f"{name}.{key}")


def _earlier_starts(path: Path) -> list[Any]:
    """Return the records of earlier starts, newest first."""
    if not path.is_file():
        return []
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return [{k: v for k, v in record.items() if k != EARLIER}, *record.get(EARLIER, [])]
    except (ValueError, AttributeError, TypeError) as error:
        get_logger().warning(f"{path} is no record of an earlier start and gets replaced: {error}")
        return []
