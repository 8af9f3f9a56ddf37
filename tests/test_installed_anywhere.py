"""The program runs where it cannot write to itself, knows no home, no git and no letters."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
from demo_project import ROOT
from read_only import read_only_folder

from mmseg.apis.run_names import child_of_experiment, child_of_file
from mmseg.apis.test_options import TestOptions, check_writable
from mmseg.cli.endings import user_errors
from mmseg.config import load_config
from mmseg.datasets.fingerprint import folder_fingerprint

# Refuses what would write to the folders in its first argument, so that root is refused, too.
READ_ONLY = """
import errno, os, runpy, sys
places = tuple(os.path.realpath(place) + os.sep for place in sys.argv[1].split(os.pathsep))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
def refuse(event, arguments):
    if (event == "open" and arguments[2] & WRITES) or event in EVENTS:
        if isinstance(arguments[0], (str, bytes)):
            if os.path.abspath(os.fsdecode(arguments[0])).startswith(places):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])
del sys.argv[:2]
sys.addaudithook(refuse)
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
BARE = {
    "PATH": "",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}
SITE = Path(pytest.__file__).parents[1]


def test_a_run_from_a_read_only_program_without_home_git_and_letters(tmp_path: Path) -> None:
    """All that it writes is in the current folder, and nobody else's to read."""
    tiny_run.write_pictures(tmp_path)
    for folder, suffix in (("images", ".png"), ("labels", "_labelTrainIds.png")):
        file = tmp_path / "source" / folder / f"00000{suffix}"
        file.rename(file.with_name(f"Prüfung 数{suffix}"))
    values = tiny_run.config(tmp_path, uda={"type": "DACS", "source_only": True})
    tiny_run.write_config(tmp_path / "mine.py", values)
    here = tmp_path / "Größe"
    here.mkdir()
    places = os.pathsep.join(map(str, (ROOT, SITE)))
    command = [sys.executable, "-c", READ_ONLY, places, str(ROOT / "run_experiments.py")]
    extra = {"SYSTEMROOT": os.environ["SYSTEMROOT"]} if os.name == "nt" else {}
    umask = {} if os.name == "nt" else {"umask": 0o077}
    done = subprocess.run(
        [*command, "--config", "../mine.py"],
        cwd=here,
        env={**BARE, **extra},
        capture_output=True,
        text=True,
        errors="replace",
        **umask,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Logging error" not in done.stderr
    (child,) = here.glob("configs/generated/local-basic/*_tiny_*.py")
    run = here / "work_dirs/local-basic" / child.stem
    record = json.loads((run / "repro.json").read_text())
    assert record["code"] == {"revision": None, "tree": "no git"}
    assert (run / "latest.pth").is_file()
    if os.name != "nt":
        assert [p for p in here.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o77] == []


def test_series_started_elsewhere_have_the_bases_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a folder of one's own goes first."""
    monkeypatch.chdir(tmp_path)
    own = {"_base_": ["_base_/default_runtime.py"], "name": "x"}
    child = child_of_experiment(own, 80)
    assert (
        load_config(child).log_config == load_config(ROOT / "configs" / own["_base_"][0]).log_config
    )
    (tmp_path / "configs/_base_").mkdir()
    (tmp_path / "configs/_base_/default_runtime.py").write_text("seed = 73\n")
    assert load_config(child_of_experiment(own, 80)).seed == 73


def test_current_folder_that_is_read_only_names_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, mode: str) -> None:
        raise OSError(errno.EROFS, f"expected to write '{file}', got: Read-only file system.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mmseg.apis.run_names.atomic_write", refuse)
    Path("c.py").write_text("seed = 1\n")
    with pytest.raises(OSError, match="generated.*Read-only .* change to a folder of your own"):
        child_of_file("c.py")


def test_checkpoint_in_a_folder_that_is_read_only_names_the_option() -> None:
    with read_only_folder(writable=["own"]) as folder:
        options = TestOptions(config="c.py", checkpoint=str(folder / "a.pth"))
        with pytest.raises(
            PermissionError, match="Permission denied.* another one with --work-dir"
        ):
            check_writable(options, folder)
        check_writable(options, folder / "own")


@pytest.mark.parametrize("is_missing", [True, False])
def test_letters_that_no_file_can_have_are_explained(
    is_missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of a config on a system in ASCII."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    with pytest.raises(SystemExit, match=r"ü.*lacks some .*PYTHONUTF8=1\.$"), user_errors():
        if is_missing:
            raise FileNotFoundError("expected images in 'ü', got no such folder.")
        "ü".encode("ascii")
    with pytest.raises(SystemExit, match=r"0…255\.$"), user_errors():
        raise OSError("expected 0…255.")


def test_names_have_one_fingerprint_on_all_systems(tmp_path: Path) -> None:
    """Where names are ASCII, Python escapes the bytes of others."""
    escaped = "ü.png".encode().decode("ascii", "surrogateescape")
    hashes = [folder_fingerprint(tmp_path, [name])["sha256"] for name in ("ü.png", escaped)]
    assert hashes[0] == hashes[1]
