"""`repro.json`: what a run was started with, so it can be told apart and repeated."""

import json
import os
import platform
import re
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
from mmseg.config.run_config import NOT_HASHED, RunConfig
from mmseg.datasets.class_statistics import statistics_files
from mmseg.datasets.fingerprint import dataset_fingerprint
from mmseg.datasets.joint import parts_of
from mmseg.engine.logs import get_logger
from mmseg.engine.seed import CUBLAS_WORKSPACE
from mmseg.system import processes
from mmseg.system.files import sha256_of, write_json
from mmseg.system.hub import local_file
from mmseg.system.shipped import root
from mmseg.system.weight_table import path_of

REPRO = "repro.json"
EARLIER = "earlier_starts"
CROP_SETTINGS = "preprocessing.json"  # run_seg.py leaves it beside the crops
CHANGED = "uncommitted changes"
GIT_SECONDS = 20
# What git says where there is no repository, or one that does not know the program.
NO_CHECKOUT = re.compile("not a git repository|did not match any file")


def write_repro(
    work_dir: str | Path,
    run: RunConfig,
    dataset: Any,
    device: torch.device,
    deterministic: bool = False,
    launcher: str = "none",
) -> None:
    """Write `repro.json` into the work folder; all processes call it, the main one writes.

    The record of this start is on top; those of earlier starts in the same folder are kept in its
    list `earlier_starts`, newest first. A file that cannot be found is recorded as missing.
    """
    cpu = f"CPU {platform.processor() or platform.machine()}"
    gpu_or_cpu = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    devices = processes.gather_objects(gpu_or_cpu)
    if not processes.is_main():
        return
    path = Path(work_dir) / REPRO
    note = "hash of the values, whatever their order and formatting; without "
    record = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": {"arguments": sys.argv, "folder": str(Path.cwd()), "launcher": launcher},
        "code": code_state(root()),
        "versions": versions(),
        "processes": len(devices),
        "devices": devices,
        "threads_per_process": torch.get_num_threads(),
        "seed": run.seed,
        "deterministic": deterministic,
        CUBLAS_WORKSPACE: os.environ.get(CUBLAS_WORKSPACE),
        "config": {"sha256": run.sha256, "note": note + ", ".join(NOT_HASHED)},
        "data": _data_fingerprints(dataset),
        "files": {name: file_hash(file) for name, file in files_of_run(run, dataset)},
        EARLIER: _earlier_starts(path),
    }
    write_json(path, record)


def versions() -> dict[str, Any]:
    """Return the versions of what computes; None where a build of torch has no such part."""
    return {
        "cdda-seg": mmseg.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "os": platform.platform(),
    }


def version_lines(device: torch.device) -> list[str]:
    """Return what a log should start with: versions, device and number of processes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return [
        f"cdda-seg {mmseg.__version__}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}, {platform.system()}",
        f"Device: {device} {name}; {processes.world_size()} process(es), "
        f"{torch.get_num_threads()} thread(s) each",
    ]


def code_state(folder: Path) -> dict[str, str | None]:
    """Return the git revision of the program in `folder`, and whether its files are changed.

    'tree' is 'clean', 'uncommitted changes' (in files that git tracks), 'not a checkout', 'no git'
    where that program is missing, or 'unknown' and what git says.
    """
    unknown: dict[str, str | None] = {"revision": None}
    try:
        # An installed copy may lie inside another project's checkout, which does not track it.
        _git(folder, "ls-files", "--error-unmatch", "mmseg/__init__.py")
        revision = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "-uno")
    except OSError:
        return {**unknown, "tree": "no git"}
    except subprocess.TimeoutExpired:
        return {**unknown, "tree": f"unknown: git did not answer within {GIT_SECONDS} seconds"}
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()
        if NO_CHECKOUT.search(said):
            return {**unknown, "tree": "not a checkout"}
        return {**unknown, "tree": f"unknown: {said.partition(chr(10))[0]}"}
    return {"revision": revision, "tree": CHANGED if changes else "clean"}


def git_revision(folder: Path | None = None) -> str | None:
    """Return the commit of this program, with `+changes`; None outside a checkout."""
    state = code_state(folder or root())
    is_changed = state["tree"] == CHANGED
    return f"{state['revision']}+changes" if is_changed else state["revision"]


def files_of_run(run: RunConfig, dataset: Any) -> Iterator[tuple[str, Path]]:
    """Yield (config key, path) of the files whose content decides what is computed."""
    yield from ((name, local_file(path_of(path))) for name, path in weights_of(run))
    uda = run.uda or {}
    named: dict[str, Any] = {"load_from": run.load_from, "resume_from": run.resume_from}
    named["uda.matrix_path"] = uda.get("matrix_path")
    crops = uda.get("croped_images_path")
    named["uda.croped_images_path"] = crops and Path(crops).parent / CROP_SETTINGS
    yield from ((name, local_file(path)) for name, path in named.items() if path)
    source = getattr(dataset, "source", None)
    for part in parts_of(source):
        root = getattr(part, "data_root", None)
        if getattr(dataset, "rare_class_sampling", None) is None or root is None:
            continue
        for file in statistics_files(root):
            if file.exists() or getattr(part, "CONVERTER", "") is not None:
                yield f"data.train.source: {file.name}", file


def weights_of(run: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield (key, path or known name) of the weights that a run's networks start with."""
    yield from pretrained_files(run.model, "model")
    yield from pretrained_files(run.uda or {}, "uda")


def pretrained_files(section: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield (key, path or known name) of every file of weights in a section, however deep."""
    for key, value in section.items():
        if key in ("pretrained", "pretrained_adapter") and isinstance(value, str):
            yield f"{name}.{key}", value
        elif isinstance(value, Mapping):
            yield from pretrained_files(value, f"{name}.{key}")


def file_hash(path: Path) -> dict[str, Any]:
    """Return path, size in bytes and SHA-256 of a file, or that it is missing."""
    if not path.is_file():
        return {"path": str(path), "missing": True}
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _git(folder: Path, *arguments: str) -> str:
    english = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=english,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.strip()


def _data_fingerprints(dataset: Any) -> dict[str, Any]:
    """Return the fingerprints of source and target, or of the one dataset that is trained on."""
    names = ("source", "target")
    if not all(hasattr(dataset, name) for name in names):
        return {"train": dataset_fingerprint(dataset)}
    return {name: dataset_fingerprint(getattr(dataset, name)) for name in names}


def _earlier_starts(path: Path) -> list[Any]:
    if not path.is_file():
        return []
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return [{k: v for k, v in record.items() if k != EARLIER}, *record.get(EARLIER, [])]
    except (ValueError, AttributeError, TypeError) as error:
        get_logger().warning(f"{path} is no record of an earlier start and gets replaced: {error}")
        return []
