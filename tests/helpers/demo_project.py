"""A copy of the repository in which tests run the README's commands, on few and small images."""

import contextlib
import io
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["mmseg", "demo", "tools", "configs", "benchmarks", "requirements.txt"]
PARTS += ["demo.sh", "test.sh", "run_seg.py", "run_experiments.py", "experiments.py"]
# Six crops, any image for rare class sampling, two iterations from random weights.
NUM_CROPS = 6
SMALLER = [
    f"uda.matrix_path=preprocessed/demo_gta/gta_{NUM_CROPS}_distribution.pth",
    "data.train.rare_class_sampling.min_pixels=1",
    "load_from=None",
    "runner.max_iters=2",
    "log_config.interval=1",
]

SIZE = (160, 90)
SMALLER_PYTHON = f"""#!/bin/sh
case "$1" in
tools/make_demo_data.py)
    set -- "$@" --source-images 8 --target-images 4 --size {SIZE[0]}x{SIZE[1]} --nproc 1 ;;
tools/convert_datasets/*) set -- "$@" --nproc 1 ;;
run_seg.py)
    set -- "$@" --num {NUM_CROPS} --num-workers 0 --cfg-options {" ".join(SMALLER[:3])} ;;
run_experiments.py) set -- "$@" --cfg-options {" ".join(SMALLER)} data.workers_per_gpu=0 ;;
esac
export OMP_NUM_THREADS=1
exec "{sys.executable}" "$@"
"""
WHOLE_PYTHON = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status (or last words) and everything it said."""

    status: object
    text: str


def copy_folder(source: Path, target: Path, *left_out: str) -> None:
    """Copy a folder of the repository, which nobody may be allowed to write to, to change it."""
    ignore = shutil.ignore_patterns(*left_out)
    shutil.copytree(source, target, ignore=ignore, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def copy_repository(target: Path) -> Path:
    """Copy what a clone holds and the commands need."""
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            copy_folder(source, target / name, "__pycache__", "generated", "*.png")
        else:
            shutil.copyfile(source, target / name)
    return target


def run(project: Path, command: str) -> Outcome:
    """Run `python SCRIPT ARGUMENTS` as a shell in `project` would, but in this process."""
    python, script, *arguments = shlex.split(command)
    assert python == "python"
    said = io.StringIO()
    before = Path.cwd()
    os.chdir(project)
    places = [str(Path(script).resolve().parent), str(ROOT)]
    try:
        with (
            mock.patch.object(sys, "argv", [script, *arguments]),
            mock.patch.object(sys, "path", [*places, *sys.path]),
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


class Demo:
    """A copy of the repository after `demo.sh`, with `python` as the only changed program."""

    def __init__(self, root: Path, python_script: str = SMALLER_PYTHON) -> None:
        self.root = copy_repository(root)
        (root / "bin").mkdir()
        python = root / "bin/python"
        python.write_text(python_script)
        python.chmod(0o755)
        # An environment with these very requirements installed.
        (root / "env").mkdir()
        requirements = (ROOT / "requirements.txt").read_bytes()
        (root / "env/cdda-requirements.txt").write_bytes(requirements)
        self.output = self.sh("demo.sh")
        (self.run_dir,) = (root / "work_dirs/local-demo").iterdir()

    def sh(self, *command: str) -> str:
        """Run a shell script of the repository; return what it says."""
        path = f"{self.root}/bin:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": f"{self.root}/env"}
        done = subprocess.run(
            ["sh", *command],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run(self, command: str) -> str:
        """Run `python SCRIPT …` in this process; return what it says."""
        outcome = run(self.root, command)
        assert outcome.status == 0, outcome
        return outcome.text

    def records(self, folder: Path | None = None) -> list[dict[str, Any]]:
        """Return the lines of a run's JSON log."""
        (file,) = (folder or self.run_dir).glob("*.log.json")
        return [json.loads(line) for line in file.read_text().splitlines()]
