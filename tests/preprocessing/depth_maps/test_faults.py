"""Full disks, killed processes, signals: what was made stays, and the next start goes on."""

import errno
import os
import re
import signal
from pathlib import Path

import pytest
from depth_runs import contents, read_maps, run
from full_disk import let_disk_fill_up

from mmseg.preprocessing.depth_maps import images as images_module
from mmseg.preprocessing.depth_maps.network import Network
from mmseg.system.interruption import RunInterrupted

pytestmark = pytest.mark.usefixtures("forks")


def finish(images: Path, out: Path, model: Path, whole: Path) -> None:
    """Start again, and compare with the maps of an undisturbed run."""
    before = contents(out)
    assert all(contents(whole)[name] == content for name, content in before.items())
    summary = run(images, out, model=str(model))
    assert summary.existing == len(before) - 1  # and depth.json
    assert contents(out) == contents(whole)
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_disk_that_fills_up_ends_the_run_at_once(
    workers, images, model, made, tmp_path, monkeypatch
):
    """The process may write four files, and needs two to begin."""
    out = tmp_path / "maps"
    with monkeypatch.context() as patch:
        let_disk_fill_up(patch, num_files=4)
        message = r"expected to write '.*\d\.png', got: No space left on device; free space there"
        with pytest.raises(OSError, match=message) as raised:
            run(images, out, model=str(model), workers=workers)
    assert raised.value.errno == errno.ENOSPC
    assert len(read_maps(out)) == 2
    finish(images, out, model, made)


def test_killed_reader_ends_the_run_with_a_sentence(images, model, made, tmp_path, monkeypatch):
    """As the system does when the memory is full."""
    original, main = images_module.read_color, os.getpid()

    def read_color(path):
        if path.name == "006.png" and os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(path)

    out = tmp_path / "maps"
    with monkeypatch.context() as patch:
        patch.setattr(images_module, "read_color", read_color)
        message = r"1 workers to deliver samples, got: worker \d+ was ended by SIGKILL.* fewer"
        with pytest.raises(ChildProcessError, match=message):
            run(images, out, model=str(model), workers=1)
    finish(images, out, model, made)


def interrupt(patch: pytest.MonkeyPatch, number: signal.Signals, call: int) -> list:
    """Send this process a signal with one of the network's batches; return their list."""
    original, calls = Network.maps, []

    def maps(self, pixels, size):
        calls.append(size)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(self, pixels, size)

    patch.setattr(Network, "maps", maps)
    return calls


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGUSR1, 0), (signal.SIGTERM, 2)])
def test_signal_ends_the_run_after_the_batch_in_work(
    number, workers, images, model, made, tmp_path, monkeypatch
):
    out = tmp_path / "maps"
    with monkeypatch.context() as patch:
        calls = interrupt(patch, number, call=4)
        message = f"^Stopped by {number.name} after 4 of 11 maps. Start the same command again to "
        with pytest.raises(RunInterrupted, match=f"{message}continue"):
            run(images, out, model=str(model), workers=workers)
    assert len(calls) == len(read_maps(out)) == 4
    finish(images, out, model, made)


def test_signal_with_the_last_map_changes_nothing(images, model, tmp_path, monkeypatch):
    interrupt(monkeypatch, signal.SIGTERM, call=1)
    assert run(images / "a/000.png", tmp_path / "maps", model=str(model)).made == 1


def test_stopped_overwrite_goes_on_without_that_option(images, model, tmp_path, monkeypatch):
    """With it, the maps that were just made would be made again."""
    interrupt(monkeypatch, signal.SIGTERM, call=1)
    with pytest.raises(RunInterrupted, match="command again without --overwrite to continue"):
        run(images, tmp_path / "maps", model=str(model), overwrite=True)


def test_map_that_was_damaged_later_is_not_this_commands_to_judge(copy, images, model):
    """Files are written whole or not at all: what is there is a map."""
    (copy / "a/001.png").write_bytes(b"")
    said: list[str] = []
    assert run(images, copy, said, model=str(model)).existing == 11
    assert any(re.search("1 of 8 sampled depth maps .* cannot be read", line) for line in said)
