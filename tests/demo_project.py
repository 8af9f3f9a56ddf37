"""A copy of the repository in which tests run the README's commands, on few and small images."""

import contextlib
import io
import os
import runpy
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["mmseg", "tools", "configs", "benchmarks", "demo.sh", "test.sh", "requirements.txt"]
PARTS += ["run_seg.py", "run_experiments.py", "experiments.py"]
# Six crops in place of 200, any image for rare class sampling, two iterations from random weights.
NUM_CROPS = 6
SMALLER = [
    f"uda.matrix_path=preprocessed/demo_gta/gta_{NUM_CROPS}_distribution.pth",
    "data.train.rare_class_sampling.min_pixels=1",
    "load_from=None",
    "runner.max_iters=2",
    "log_config.interval=1",
]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status (or last words) and everything it said."""

    status: object
    text: str


def copy_repository(target: Path) -> Path:
    """Copy what a clone holds and the commands need."""
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "generated", "*.png")
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            shutil.copy(source, target / name)
    return target


def run(project: Path, command: str) -> Outcome:
    """Run `python SCRIPT ARGUMENTS` as a shell in `project` would, but in this process."""
    python, script, *arguments = shlex.split(command)
    assert python == "python"
    said = io.StringIO()
    before = Path.cwd()
    os.chdir(project)
    try:
        with (
            mock.patch.object(sys, "argv", [script, *arguments]),
            mock.patch.object(sys, "path", [str(ROOT), *sys.path]),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            try:
                runpy.run_path(script, run_name="__main__")
                status: object = 0
            except SystemExit as end:
                status = end.code or 0
    finally:
        os.chdir(before)
    return Outcome(status, said.getvalue())
