"""Files are whole or not there, and a failed write says why, whatever the library made of it."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from read_only import without_rights

from mmseg.system import files
from mmseg.system.files import atomic_write, partial_of, remove_partials, require_writable

resource = pytest.importorskip("resource", reason="limits and rights as Unix has them")
NO_PROCESS = 2**30  # no system counts that far
FULL = "free space there, or write to another disk, then start .* --resume auto"


@contextmanager
def size_limit(limit: int) -> Iterator[None]:
    """Let this process write files of at most `limit` bytes."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.fixture
def folder_of_root() -> Iterator[Path]:
    """A folder that anybody may read and nobody but root may write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "old.txt").write_text("old")
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "deep/er/notes.txt"
    with atomic_write(file, "w") as stream:
        stream.write("first: ä\n")
        assert not file.exists()
    with atomic_write(file, "w") as stream:
        stream.write("second")
        stream.flush()
        assert file.read_text(encoding="utf-8") == "first: ä\n"
    assert file.read_text() == "second"
    assert [p.name for p in file.parent.iterdir()] == ["notes.txt"]


def test_an_error_of_the_block_passes_unchanged_and_leaves_the_old_file(tmp_path: Path) -> None:
    """Also one that a full disk could have raised: this file was not the one that failed."""
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    for error in (KeyError("x"), RuntimeError("y"), OSError(errno.ENOSPC, "elsewhere")):
        with pytest.raises(type(error)) as caught, atomic_write(file) as stream:
            stream.write(b"new")
            raise error
        assert caught.value is error
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("limit", [0, 3000, 100_000, 399_999, 405_000])
def test_a_disk_that_fills_while_torch_saves_keeps_the_old_checkpoint(
    tmp_path: Path, limit: int
) -> None:
    """Depending on where it fills, torch raises the OSError or a RuntimeError of its own."""
    content = {"large": torch.arange(100_000.0), "small": [torch.ones(n) for n in range(40)]}
    file = tmp_path / "latest.pth"
    file.write_bytes(b"old")
    expected = rf"expected to write '{file}', got: File too large; raise the limit.*is unchanged"
    is_explained = pytest.raises(OSError, match=expected)
    with size_limit(limit), is_explained as caught, atomic_write(file) as stream:
        torch.save(content, stream)
    assert caught.value.errno == errno.EFBIG
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["latest.pth"]


def test_a_failed_picture_or_array_is_explained_too(tmp_path: Path) -> None:
    """Pillow and numpy would otherwise write past the file object and lose the reason."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 80), dtype=np.uint8)
    is_explained = pytest.raises(OSError, match="got: File too large")
    with size_limit(2000), is_explained, atomic_write(tmp_path / "a.png") as stream:
        Image.fromarray(noise).save(stream, format="PNG")
    with size_limit(2000), is_explained, atomic_write(tmp_path / "a.npy") as stream:
        np.save(stream, noise)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_space_that_ends_when_the_data_reaches_the_disk_is_explained(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems say so only at fsync."""

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match=FULL) as caught, atomic_write(tmp_path / "x") as stream:
        stream.write(b"new")
    assert caught.value.errno == number
    assert os.strerror(number) in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"old"}
    with pytest.raises(OSError, match=FULL):
        require_writable(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_folder_without_rights_is_named_before_and_while_writing(folder_of_root: Path) -> None:
    expected = r"got: Permission denied; choose a folder that you may write to"
    with without_rights(folder_of_root):
        with pytest.raises(PermissionError, match=expected):
            require_writable(folder_of_root)
        with pytest.raises(PermissionError, match=expected):
            require_writable(folder_of_root / "run/a")
        file = folder_of_root / "old.txt"
        with pytest.raises(PermissionError, match=rf"'{file}', {expected}"), atomic_write(file):
            pass
    assert {p.name: p.read_text() for p in folder_of_root.iterdir()} == {"old.txt": "old"}


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/run"):
        with pytest.raises(OSError, match=rf"'{folder}', got: .*; choose a folder, not a file"):
            require_writable(folder)


def test_a_name_that_is_too_long_is_explained(tmp_path: Path) -> None:
    is_explained = pytest.raises(OSError, match="got: File name too long; choose a shorter path")
    with is_explained, atomic_write(tmp_path / ("x" * 256)):
        pass
    with atomic_write(tmp_path / ("x" * 255)) as stream:
        stream.write(b"fits")
    assert [len(p.name) for p in tmp_path.iterdir()] == [255]


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "work_dirs/run")
    assert list((tmp_path / "work_dirs/run").iterdir()) == []


def test_a_disk_that_takes_only_empty_files_is_not_writable(tmp_path: Path) -> None:
    with size_limit(0), pytest.raises(OSError, match=rf"write '{tmp_path}', got: File too large"):
        require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_new_name_is_made_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the data, then the name: the folder is synced after the rename."""
    calls: list[int | str] = []
    fsync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        calls.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(files.os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with atomic_write(tmp_path / "a") as stream:
        stream.write(b"x")
    assert calls == [(tmp_path / "a").stat().st_ino, "rename", tmp_path.stat().st_ino]


def test_a_left_over_second_name_of_a_good_file_is_not_written_through(tmp_path: Path) -> None:
    """A process killed between the link and the rename of `latest.pth` leaves such a name.

    In a container the next process has the same number, and so the same temporary name.
    """
    good, latest = tmp_path / "iter_2.pth", tmp_path / "latest.pth"
    good.write_bytes(b"good")
    os.link(good, partial_of(latest))
    with pytest.raises(KeyError), atomic_write(latest) as stream:
        stream.write(b"bad")
        raise KeyError
    assert good.read_bytes() == b"good"


def test_only_files_of_dead_processes_are_left_over(tmp_path: Path) -> None:
    mine = partial_of(tmp_path / "latest.pth").name
    machine, _, name = mine.split("-")
    dead = f"{machine}-{NO_PROCESS}-{name}"
    alive = f"{machine}-{os.getppid()}-{name}"
    elsewhere, silent = f".0badcafe-1-{name}", f".0badcafe-2-{name}"
    for file in (mine, dead, alive, elsewhere, silent, "latest.pth"):
        (tmp_path / file).touch()
    hour_ago = time.time() - 3600
    os.utime(tmp_path / silent, (hour_ago, hour_ago))
    os.utime(tmp_path / alive, (hour_ago, hour_ago))
    removed = remove_partials(tmp_path)
    assert {p.name for p in removed} == {mine, dead, silent}
    assert {p.name for p in tmp_path.iterdir()} == {alive, elsewhere, "latest.pth"}
    assert remove_partials(tmp_path / "none") == []


def test_a_process_that_has_ended_writes_no_more_even_if_nobody_asks_for_its_end(
    tmp_path: Path,
) -> None:
    machine, _, name = partial_of(tmp_path / "latest.pth").name.split("-")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        (tmp_path / f"{machine}-{process.pid}-{name}").touch()
        remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_windows_is_never_asked_for_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`os.kill(…, 0)` would send it Ctrl-C: the age of the file tells, as of other machines'."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    mine = partial_of(tmp_path / "latest.pth")
    silent, busy = (
        mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{number}-")) for number in (1, 2)
    )
    for file in (mine, silent, busy):
        file.touch()
    os.utime(silent, (0, 0))
    assert set(remove_partials(tmp_path)) == {mine, silent}
    assert list(tmp_path.iterdir()) == [busy]


def test_a_killed_writer_leaves_the_old_file_and_one_temporary_file(tmp_path: Path) -> None:
    file = tmp_path / "latest.pth"
    file.write_bytes(b"old")
    code = (
        "import sys; from mmseg.system.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'new' * 99); file.flush(); print('written', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=Path(__file__).parents[1]) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert remove_partials(tmp_path) == []
        writer.kill()
    assert file.read_bytes() == b"old"
    (partial,) = (p for p in tmp_path.iterdir() if p != file)
    assert partial.read_bytes() == b"new" * 99
    assert remove_partials(tmp_path) == [partial]
    assert [p.name for p in tmp_path.iterdir()] == ["latest.pth"]


def test_several_threads_write_files_of_one_folder(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(20):
            with atomic_write(tmp_path / f"{number}.txt", "w") as stream:
                stream.write(str(number) * 5000)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert all((tmp_path / f"{n}.txt").read_text() == str(n) * 5000 for n in range(4))
