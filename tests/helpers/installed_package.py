"""The wheel of this program, installed into an environment that knows no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from demo_project import ROOT, copy_folder

FOLDERS = ("mmseg", "configs", "demo", "docs", "tools")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "cdda_seg.py", "test.sh")
FILES += ("experiments.py", "run_experiments.py", "run_seg.py")
FILES += ("pretrained/README.md", "pretrained/demo_mit_b0_source.pth")


class Installed:
    """An environment with the wheel; `root/here` is an empty folder to work in."""

    def __init__(self, root: Path) -> None:
        pytest.importorskip("setuptools", minversion="77")
        self.environment, self.here = root / "environment", root / "here"
        self.here.mkdir()
        self.wheel = _build(root)
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self.environment], check=True
        )
        paths = {"base": str(self.environment), "platbase": str(self.environment)}
        self.site = Path(sysconfig.get_path("purelib", "venv", paths))
        self.programs = Path(sysconfig.get_path("scripts", "venv", paths))
        python = self.programs / Path(sys.executable).name
        _pip("--python", python, "install", "--no-deps", "--no-index", self.wheel)
        libraries = [path for path in sys.path if path.endswith("site-packages")]
        (self.site / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")

    @property
    def contents(self) -> list[str]:
        """The names in the wheel."""
        with zipfile.ZipFile(self.wheel) as wheel:
            return wheel.namelist()

    def run(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a console script in `here`."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [shutil.which(command, path=str(self.programs)) or command, *words],
            cwd=self.here,
            env={**environment, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    def succeed(self, command: str, *words: str) -> str:
        """Run a console script that has to succeed; return what it says."""
        done = self.run(command, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def _build(root: Path) -> Path:
    source = root / "source"
    for name in FOLDERS:
        copy_folder(ROOT / name, source / name, "__pycache__")
    for name in FILES:
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", root, source)
    (wheel,) = root.glob("*.whl")
    return wheel


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
