"""What preprocessing says when disk, folder or an existing crop is bad; nothing written is lost.

Five source images, nine crops of 16x20 pixels.
"""

import errno
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import let_disk_fill_up
from patience import children_are_gone
from PIL import Image
from read_only import read_only_folder
from test_crops import NUM, contents, make_dataset, run
from test_crops import cfg as make_cfg

from mmseg.datasets.image_files import read_label
from mmseg.preprocessing import crops as crops_module
from mmseg.preprocessing import label_conversion
from mmseg.preprocessing.label_conversion import convert_gta
from mmseg.system import files

pytestmark = pytest.mark.usefixtures("forks")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("gta")
    make_dataset(root)
    return root


@pytest.fixture
def cfg(data):
    return make_cfg.__wrapped__(data)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "crops"
    run(make_cfg.__wrapped__(data), folder)
    return folder


@pytest.fixture
def copy(made, tmp_path) -> Path:
    """Finished crops to spoil."""
    return Path(shutil.copytree(made, tmp_path / "crops"))


@pytest.mark.parametrize("workers", [0, 2])
def test_disk_that_fills_up_ends_the_run_and_the_second_start_goes_on(
    workers, cfg, made, tmp_path, monkeypatch
):
    """Every process may write 7 files, of which the main process needs one for the settings."""
    folder, before = tmp_path / "crops", set(multiprocessing.active_children())
    with monkeypatch.context() as patch:
        let_disk_fill_up(patch, num_files=7)
        message = r"expected to write '.*\d\.png', got: No space left on device; free space there"
        with pytest.raises(OSError, match=message) as raised:
            run(cfg, folder, workers=workers)
    assert raised.value.errno == errno.ENOSPC
    assert children_are_gone(but=before), "workers outlive the error"
    # A worker that was ended with the run may leave a partial file; the next start removes it.
    written = {k: v for k, v in contents(folder).items() if not k.endswith(".partial")}
    whole = contents(made)
    assert len(written) >= 4
    assert all(whole[name] == content for name, content in written.items())
    run(cfg, folder, workers=workers)
    assert contents(folder) == whole


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-25] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["images", "labels", "depth"])
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_crop_is_named_and_drawn_anew_once_it_is_deleted(part, workers, cfg, made, copy):
    path = copy / part / "4.png"
    damage(path)
    message = rf"'{path}', got a broken file: .* Delete '{path}' and start run_seg\.py again"
    with pytest.raises(ValueError, match=message):
        run(cfg, copy, workers=workers)
    path.unlink()
    run(cfg, copy, workers=workers)
    assert contents(copy) == contents(made)


def test_existing_label_with_a_class_that_does_not_exist_is_named(cfg, copy):
    path = copy / "labels/2.png"
    Image.fromarray(np.full((16, 20), 19, np.uint8)).save(path)
    with pytest.raises(ValueError, match=rf"0…18 .* '{path}', got 19\. Delete '{path}' and start"):
        run(cfg, copy)


def test_existing_depth_of_another_size_is_named(cfg, copy):
    Image.fromarray(np.zeros((16, 21), np.uint8)).save(copy / "depth/2.png")
    with pytest.raises(
        ValueError, match=r"\(16, 20\) in .*labels/2.png' and \(16, 21\) in .*Delete"
    ):
        run(cfg, copy)


def test_crop_without_its_label_is_drawn_anew_whole(cfg, made, copy):
    """The image that is there counts for nothing: it may be of an older run."""
    (copy / "labels/3.png").unlink()
    Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(copy / "images/3.png")
    run(cfg, copy)
    assert contents(copy) == contents(made)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe"])
def test_broken_settings_beside_crops_are_named(content, cfg, copy):
    (copy / "preprocessing.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"'.*preprocessing\.json', got a broken file\. Delete that"
    ):
        run(cfg, copy)


def test_folder_that_cannot_be_written_to_ends_the_run_at_once(cfg, data):
    """Before the dataset is looked at, whose folder does not exist here."""
    cfg.data.train.source.data_root = "nowhere"
    with read_only_folder() as folder, pytest.raises(PermissionError) as raised:
        run(cfg, folder / "crops")
    message = f"expected to write '{folder}/crops', got: Permission denied; choose a folder that"
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("folders", "read_only"),
    [({"writable": ["labels"]}, "."), ({"readable": ["labels"], "writable": ["out"]}, "labels")],
)
def test_converter_says_at_once_that_it_cannot_write(folders, read_only, monkeypatch):
    """Labels go beside the raw ones, statistics elsewhere: both are tried before the first file."""
    listed = Path("00001.png")
    monkeypatch.setattr(label_conversion, "files_below", lambda folder, suffix: [listed.name])
    with read_only_folder(**folders) as folder:
        out = folder / "out" if "out" in folders["writable"] else None
        with pytest.raises(PermissionError, match=f"write '{folder / read_only}', got: Permission"):
            convert_gta(folder, out_dir=out, processes=1)


def test_killed_worker_ends_the_run_with_a_sentence(cfg, made, tmp_path, monkeypatch):
    """As the system does when the memory is full."""
    original = crops_module.draw_crop
    main = os.getpid()

    def draw(dataset, seed, index):
        if index == 5 and os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(dataset, seed, index)

    with monkeypatch.context() as patch:
        patch.setattr(crops_module, "draw_crop", draw)
        message = r"1 workers to deliver samples, got: worker \d+ was ended by SIGKILL.* fewer"
        with pytest.raises(ChildProcessError, match=message):
            run(cfg, tmp_path / "crops", workers=1)
    assert (tmp_path / "crops/depth/2.png").is_file()
    run(cfg, tmp_path / "crops", workers=1)
    assert contents(tmp_path / "crops") == contents(made)


def test_temporary_files_of_killed_runs_are_removed(cfg, made, copy):
    """Those of a process that still runs stay."""
    gone = 2**30  # no system counts that far
    old = [files.partial_of(copy / name) for name in ("images/3.png", "depth/3.png", "gta.pth")]
    left = [p.with_name(p.name.replace(f"-{os.getpid()}-", f"-{gone}-")) for p in old]
    running = old[0].with_name(old[0].name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))
    for path in (*left, running):
        path.write_bytes(b"half")
    run(cfg, copy)
    assert [path.exists() for path in (*left, running)] == [False, False, False, True]
    running.unlink()
    assert contents(copy) == contents(made)


def test_bank_and_crops_are_untouched_by_a_run_that_cannot_start(cfg, made, copy):
    with pytest.raises(ValueError, match="to hold crops with seed = 3"):
        run(cfg, copy, seed=3)
    assert contents(copy) == contents(made)
    bank = torch.load(copy / f"gta_{NUM}_distribution.pth", weights_only=True)
    assert bank[0].sum() == (read_label(copy / "labels/0.png") != 255).sum()
