"""torch, whose import takes seconds, is imported by the commands that need it."""

import subprocess
import sys
from pathlib import Path

import pytest

import mmseg.apis
import mmseg.evaluation

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert end.code == 0
sys.exit(3 if "torch" in sys.modules else 0)
"""


@pytest.mark.parametrize(
    ("command", "has_torch"),
    [("print_config", False), ("diff_config", False), ("plot_curves", False), ("export", True)],
)
def test_torch_is_imported_by_commands_that_need_it(command: str, has_torch: bool) -> None:
    file = str(ROOT / f"tools/{command}.py")
    done = subprocess.run([sys.executable, "-c", LOOK, file], stdout=subprocess.DEVNULL)
    assert done.returncode == (3 if has_torch else 0)


@pytest.mark.parametrize("package", [mmseg.apis, mmseg.evaluation])
def test_public_names_are_there_when_they_are_used(package) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nix'"):
        _ = package.nix
