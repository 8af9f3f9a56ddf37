"""One command at a time writes into a folder, and nobody has to clean up after a killed one."""

import json
import multiprocessing
import os
import platform
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

from mmseg.system import folder_lock
from mmseg.system.errors import ConfigError
from mmseg.system.folder_lock import LOCK_FILE, only_writer

GONE = 2**22 + 1  # above the largest process number of Linux


def hold(pipe: Connection, folder: Path) -> None:
    with only_writer(folder):
        pipe.send("held")
        pipe.recv()


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that writes into the folder `run`, and a pipe that ends it."""
    pipe, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=hold, args=(theirs, tmp_path / "run")
    )
    process.start()
    assert pipe.poll(PATIENCE)
    yield process, pipe
    process.kill()
    process.join()


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use what tells on file systems without locks."""
    monkeypatch.setattr(folder_lock, "_lock", folder_lock._is_left_over)


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_folder_in_use_is_refused_and_names_who_uses_it(
    holder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_locks: bool
) -> None:
    if not has_locks:
        without_locks(monkeypatch)
    process, pipe = holder
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for folder in (tmp_path / "run", tmp_path / "link", tmp_path / "run/../run"):
        expected = f"process {process.pid} on {platform.node()} .since .* does. Wait for its end"
        with pytest.raises(ConfigError, match=expected), only_writer(folder):
            pytest.fail("two writers")
    process.kill()  # which leaves the file
    process.join()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    with only_writer(tmp_path / "run"):
        owner = json.loads((tmp_path / "run" / LOCK_FILE).read_text())
        assert (owner["process"], owner["host"]) == (os.getpid(), platform.node())


@pytest.mark.parametrize("has_locks", [True, False])
@pytest.mark.parametrize(
    "left", ["", "{", "[]", f'{{"host": "{platform.node()}", "process": 1e9}}']
)
def test_files_of_nobody_are_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_locks: bool, left: str
) -> None:
    if not has_locks:
        without_locks(monkeypatch)
    (tmp_path / LOCK_FILE).write_text(left.replace("1e9", str(GONE)))
    with only_writer(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_without_locks_another_machine_may_still_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    (tmp_path / LOCK_FILE).write_text('{"host": "elsewhere", "process": 7, "since": "noon"}')
    expected = "process 7 on elsewhere .since noon. does.*If it is gone, delete"
    with pytest.raises(ConfigError, match=expected), only_writer(tmp_path):
        pytest.fail("two writers")


@pytest.mark.parametrize("error", [None, ConfigError("no")])
def test_a_folder_that_stays_empty_is_not_left_behind(
    tmp_path: Path, error: Exception | None
) -> None:
    folder = tmp_path / "a/b/c"
    try:
        with only_writer(folder):
            assert (folder / LOCK_FILE).is_file()
            if error:
                raise error
    except ConfigError as caught:
        assert caught is error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_meanwhile_is_no_error(tmp_path: Path) -> None:
    with only_writer(tmp_path / "run"):
        (tmp_path / "run" / LOCK_FILE).unlink()
        (tmp_path / "run").rmdir()
        with only_writer(tmp_path / "run"):  # of another run, as far as anybody can tell
            pass


def test_a_folder_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(OSError, match="choose a folder, not a file"), only_writer(tmp_path / "run"):
        pytest.fail("a file")
