"""Which checkpoints a work folder has, and which of them a run continues from."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmseg.engine.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from mmseg.engine.checkpoint_folder import CheckpointFolder, resume_path, same_file
from mmseg.system import processes


def content(iteration: int, **changes: Any) -> dict[str, Any]:
    """Return a checkpoint whose weights tell its iteration."""
    values = {
        "meta": {"iter": iteration},
        "state_dict": {"model.weight": torch.full((50, 7), float(iteration))},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "iteration": iteration,
    }
    return {**values, **changes}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def iteration(file: Path | None) -> int | None:
    return None if file is None else read_checkpoint(file)["iteration"]


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with neither hard nor symbolic links."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, refuse)
    for name in ("hardlink_to", "symlink_to"):
        monkeypatch.setattr(Path, name, refuse)


def test_latest_is_a_second_name_without_more_space(tmp_path: Path) -> None:
    file = CheckpointFolder(tmp_path).save(2, content(2))
    assert file == tmp_path / "iter_2.pth"
    assert file.samefile(tmp_path / "latest.pth")
    assert not (tmp_path / "latest.pth").is_symlink()
    same_file(file, tmp_path / "latest.pth")  # once more: a rename between the two does nothing
    assert names(tmp_path) == {"iter_2.pth", "latest.pth"}


def test_latest_is_a_copy_where_there_are_no_links(tmp_path: Path, no_links: None) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (2, 4):
        folder.save(number, content(number))
    assert not (tmp_path / "iter_4.pth").samefile(tmp_path / "latest.pth")
    assert (tmp_path / "iter_4.pth").read_bytes() == (tmp_path / "latest.pth").read_bytes()
    same_file(tmp_path / "iter_4.pth", tmp_path / "best_mIoU_iter_4.pth")
    assert names(tmp_path) == {"iter_2.pth", "iter_4.pth", "latest.pth", "best_mIoU_iter_4.pth"}


def test_the_rolling_latest_changes_no_other_file(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(2, content(2))
    folder.save_best(2, content(2))
    assert folder.save_latest(content(3)) == tmp_path / "latest.pth"
    found = {name: iteration(tmp_path / name) for name in names(tmp_path)}
    assert found == {"iter_2.pth": 2, "best_mIoU_iter_2.pth": 2, "latest.pth": 3}


def test_latest_replaces_the_symbolic_link_of_other_programs(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    write_checkpoint(tmp_path / "iter_2.pth", content(2))
    (tmp_path / "latest.pth").symlink_to("iter_2.pth")
    assert folder.newest_complete() == tmp_path / "latest.pth"
    folder.save_latest(content(3))
    assert (iteration(tmp_path / "iter_2.pth"), iteration(folder.latest)) == (2, 3)
    (tmp_path / "iter_2.pth").unlink()
    (tmp_path / "latest.pth").unlink()
    (tmp_path / "latest.pth").symlink_to("iter_2.pth")
    assert folder.files == []
    assert folder.newest_complete() is None


@pytest.mark.parametrize(("keep", "kept"), [(-1, {1, 2, 10}), (2, {2, 10}), (1, {10}), (0, {10})])
def test_the_newest_are_kept_by_number(tmp_path: Path, keep: int, kept: set[int]) -> None:
    folder = CheckpointFolder(tmp_path, max_keep=keep)
    folder.save_best(1, content(1))
    for number in (1, 2, 10):
        folder.save(number, content(number))
    expected = {f"iter_{number}.pth" for number in kept} | {"latest.pth", "best_mIoU_iter_1.pth"}
    assert names(tmp_path) == expected
    assert iteration(folder.latest) == 10


def test_the_best_one_replaces_the_one_before(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (2, 4):
        file = folder.save_best(number, content(number))
        assert file == tmp_path / f"best_mIoU_iter_{number}.pth"
    assert names(tmp_path) == {"best_mIoU_iter_4.pth"}


@pytest.mark.parametrize("newest", ["iter_12.pth", "best_mIoU_iter_12.pth", "latest.pth"])
def test_the_highest_iteration_wins_whatever_its_name(tmp_path: Path, newest: str) -> None:
    """By number: 12 comes after 9."""
    folder = CheckpointFolder(tmp_path)
    assert folder.newest_complete() is None
    folder.save(9, content(9))
    folder.save_best(8, content(8))
    write_checkpoint(tmp_path / newest, content(12))
    (tmp_path / "zzz.pth").write_bytes(b"")
    assert folder.newest_complete() == tmp_path / newest


def flip(file: Path, marker: bytes) -> None:
    """Change one bit of the file inside of the first occurrence of `marker`."""
    data = bytearray(file.read_bytes())
    data[data.index(marker) + 1] ^= 1
    file.write_bytes(data)


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])


class Surprise:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("surprise",)


TWELVE = torch.full((3,), 12.0).numpy().tobytes()
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut in the middle": (lambda f: cut(f, 0.5), "it is cut off or damaged"),
    "cut at the end": (lambda f: cut(f, 0.999), "it is cut off or damaged"),
    "one bit of a tensor": (lambda f: flip(f, TWELVE), "its part 'archive/data/0' is damaged"),
    "one bit of a plain value": (lambda f: flip(f, b"iteration"), "data.pkl' is damaged"),
    "empty": (lambda f: f.write_bytes(b""), "it is empty"),
    "zeros": (lambda f: f.write_bytes(bytes(5000)), "it begins with zeros"),
    "text": (lambda f: f.write_text("This is a note.\n" * 9), "cannot be read as one"),
    "no optimizer": (
        lambda f: write_checkpoint(f, content(12, optimizer=None)),
        "it holds no state of the optimizer",
    ),
    "a tensor": (lambda f: torch.save(torch.ones(3), f), "expected a dictionary"),
    "a program": (lambda f: torch.save(content(12, x=Surprise()), f), "posix.mkdir"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_incomplete_files_are_skipped_with_name_and_reason(
    tmp_path: Path, fault: str, caplog: Any
) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (8, 10, 12):
        write_checkpoint(tmp_path / f"iter_{number}.pth", content(number))
    same_file(tmp_path / "iter_12.pth", tmp_path / "latest.pth")
    damage, reason = FAULTS[fault]
    damage(tmp_path / "iter_12.pth")
    (tmp_path / "latest.pth").unlink()
    shutil.copyfile(tmp_path / "iter_12.pth", tmp_path / "latest.pth")
    with caplog.at_level("WARNING", "mmseg"):
        assert folder.newest_complete() == tmp_path / "iter_10.pth"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    for name, record in zip(("latest.pth", "iter_12.pth"), caplog.records, strict=True):
        assert f"Skipped the checkpoint '{tmp_path / name}': " in record.message
        assert reason in record.message
    assert not Path("surprise").exists()


def test_only_what_may_be_newer_is_read(tmp_path: Path, caplog: Any) -> None:
    folder = CheckpointFolder(tmp_path)
    (tmp_path / "iter_2.pth").write_bytes(b"")
    folder.save(4, content(4))
    assert folder.newest_complete() == tmp_path / "latest.pth"
    assert caplog.records == []


def test_files_without_check_sums_are_accepted(tmp_path: Path) -> None:
    """The format of torch before 1.6."""
    torch.save(content(5), tmp_path / "iter_5.pth", _use_new_zipfile_serialization=False)
    assert CheckpointFolder(tmp_path).newest_complete() == tmp_path / "iter_5.pth"


def test_auto_starts_afresh_only_without_any_checkpoint(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level("INFO", "mmseg"):
        assert resume_path("auto", tmp_path / "run", None) is None
    assert f"No checkpoint in '{tmp_path / 'run'}': the run starts from the" in caplog.text
    (tmp_path / "latest.pth").write_bytes(b"")
    (tmp_path / "iter_7.pth").write_text("x")
    expected = (
        rf"expected a complete checkpoint in '{tmp_path}', got none: the run cannot continue from "
        r"latest\.pth, iter_7\.pth .* delete them or use --resume none"
    )
    with pytest.raises(CheckpointError, match=expected):
        resume_path("auto", tmp_path, None)
    assert names(tmp_path) == {"latest.pth", "iter_7.pth"}
    assert resume_path("none", tmp_path, None) is None


def test_process_0_decides_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may see an older state of the folder: it does not look at all."""
    chosen = tmp_path / "iter_3.pth"
    monkeypatch.setattr(processes, "is_main", lambda: False)
    monkeypatch.setattr(processes, "broadcast_object", lambda value: value or (chosen, []))
    assert resume_path("auto", tmp_path, None) == chosen
    CheckpointFolder(tmp_path).save(4, content(4))
    assert resume_path("auto", tmp_path, None) == chosen
    monkeypatch.setattr(processes, "broadcast_object", lambda value: value or (None, ["no.pth"]))
    with pytest.raises(CheckpointError, match=r"cannot continue from no\.pth"):
        resume_path("auto", tmp_path, None)


@pytest.mark.parametrize("has_links", [True, False])
def test_a_full_disk_leaves_all_checkpoints_as_they_were(
    tmp_path: Path, has_links: bool, request: pytest.FixtureRequest, monkeypatch: Any
) -> None:
    if not has_links:
        request.getfixturevalue("no_links")
    folder = CheckpointFolder(tmp_path, max_keep=1)
    folder.save(2, content(2))
    folder.save_best(2, content(2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    for save in (
        lambda: folder.save(4, content(4)),
        lambda: folder.save_latest(content(4)),
        lambda: folder.save_best(4, content(4)),
    ):
        with pytest.raises(OSError, match=r"No space left on device; free space there.*unchanged"):
            save()
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    if not has_links:
        with pytest.raises(OSError, match="No space left on device; free space there"):
            same_file(tmp_path / "iter_2.pth", tmp_path / "latest.pth")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
