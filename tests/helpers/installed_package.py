"""This program, installed into an environment that knows no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from demo_project import ROOT, copy_folder

FOLDERS = ("mmseg", "configs", "demo", "docs", "tools")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "cdda_seg.py", "test.sh")
FILES += ("experiments.py", "run_experiments.py", "run_seg.py")
FILES += ("pretrained/README.md", "pretrained/demo_mit_b0_source.pth")


class Installed:
    """An environment with this program; `here` is an empty folder to work in."""

    def __init__(self, root: Path, is_editable: bool = False) -> None:
        pytest.importorskip("setuptools", minversion="77")
        self.environment, self.here, self.source = root / "environment", root / "here", root / "src"
        self.here.mkdir()
        _copy_source(self.source)
        make = [sys.executable, "-m", "venv", "--without-pip", str(self.environment)]
        subprocess.run(make, check=True)
        paths = {"base": str(self.environment), "platbase": str(self.environment)}
        scheme = "nt" if os.name == "nt" else "posix_prefix"
        site = Path(sysconfig.get_path("purelib", scheme, paths))
        libraries = [path for path in sys.path if path.endswith("site-packages")]
        (site / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
        self.programs = Path(sysconfig.get_path("scripts", scheme, paths))
        self.python = str(self.programs / Path(sys.executable).name)
        offline = ["--no-deps", "--no-build-isolation"]
        what = ["--editable", self.source]
        if not is_editable:
            _pip(sys.executable, "wheel", *offline, "--wheel-dir", root, self.source)
            (self.wheel,) = what = list(root.glob("*.whl"))
        _pip(self.python, "install", *offline, *what)

    @property
    def contents(self) -> list[str]:
        """The names in the wheel."""
        with zipfile.ZipFile(self.wheel) as wheel:
            return wheel.namelist()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Forbid to write to the environment, and see at the end that nothing has changed."""
        before = self._times()
        own = [path for path in before if not path.is_symlink()]
        for path in own:
            path.chmod(path.stat().st_mode & ~0o222)
        try:
            yield
        finally:
            for path in own:
                path.chmod(path.stat().st_mode | 0o200)
        assert self._times() == before

    def _times(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.environment.rglob("*")}

    def run(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a console script in `here`."""
        path = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(
            [shutil.which(command, path=path) or command, *words],
            cwd=self.here,
            env=environment,
            capture_output=True,
            text=True,
        )

    def succeed(self, command: str, *words: str) -> str:
        """Run a console script that has to succeed; return what it says."""
        done = self.run(command, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def _copy_source(source: Path) -> None:
    for name in FOLDERS:
        copy_folder(ROOT / name, source / name, "__pycache__")
    for name in FILES:
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)


def _pip(python: str, *words: str | Path) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
