"""Put what a checkout has beside `mmseg` into the package; pyproject.toml says everything else."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("configs/**/*.py", "configs/published.json", "demo/*.py", "docs/*.md", "tools/**/*.py")
SHIPPED += ("experiments.py", "run_*.py", "test.sh")
SHIPPED += ("pretrained/README.md", "pretrained/demo_mit_b0_source.pth")


def shipped_files() -> list[Path]:
    """Return the files that the package carries in `mmseg/shipped`."""
    files = {file for pattern in SHIPPED for file in Path().glob(pattern)}
    return sorted(file for file in files if "generated" not in file.parts)


class Build(build_py):
    """Copy these files into what is built; an editable install uses those of the checkout."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "mmseg/shipped")
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
        for file in shipped_files():
            self.mkpath(str(folder / file.parent))
            self.copy_file(str(file), str(folder / file))

    def get_source_files(self) -> list[str]:
        """Return what a source distribution needs."""
        return [*super().get_source_files(), *map(str, shipped_files())]


setup(cmdclass={"build_py": Build})
