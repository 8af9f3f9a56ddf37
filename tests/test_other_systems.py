"""Every module, and a training, where what only Unix or Linux has is absent, as on Windows."""

import json
import subprocess
import sys
from pathlib import Path

import tiny_run

ROOT = Path(__file__).resolve().parents[1]

WITHOUT = """
import os, signal, sys
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP", "SIGALRM"):
    delattr(signal, name)
for place, name in ((signal, "pthread_sigmask"), (signal, "sigtimedwait"), (signal, "sigwait")):
    vars(place).pop(name, None)
for name in ("sched_getaffinity", "getuid", "geteuid", "killpg", "setsid", "getpgid"):
    vars(os).pop(name, None)
"""
IMPORT_ALL = """
import importlib, pkgutil, mmseg
for module in pkgutil.walk_packages(mmseg.__path__, "mmseg."):
    importlib.import_module(module.name)
    print(module.name)
"""
TRAIN = "from tools import train; train.main(sys.argv[1:])"


def run(code: str, *arguments: str) -> str:
    """Run Python where all that is absent; return what it says."""
    command = [sys.executable, "-c", WITHOUT + code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported() -> None:
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "mmseg").rglob("*.py")]
    names = {".".join(path.parts).removesuffix(".__init__") for path in files}
    assert set(run(IMPORT_ALL).split()) == names - {"mmseg"}


def test_a_training_with_a_worker_runs_and_logs_that_its_memory_is_unknown(tmp_path: Path) -> None:
    tiny_run.write_pictures(tmp_path)
    values = tiny_run.config(tmp_path, uda={"type": "DACS", "source_only": True})
    values["data"]["workers_per_gpu"] = 1
    config = tiny_run.write_config(tmp_path / "config.py", values)
    run(TRAIN, str(config), "--work-dir", str(tmp_path / "run"))
    (log,) = (tmp_path / "run").glob("*.log")
    assert log.read_text(encoding="utf-8").count(", memory: unknown, ") == 2
    (records,) = (tmp_path / "run").glob("*.log.json")
    lines = map(json.loads, records.read_text(encoding="utf-8").splitlines())
    assert [r["memory"] for r in lines if r.get("mode") == "train"] == [None, None]
    assert (tmp_path / "run/latest.pth").is_file()
