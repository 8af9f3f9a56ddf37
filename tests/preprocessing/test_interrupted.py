"""Preprocessing that is killed, stopped or runs out of disk continues where it was.

Five source images, 40 crops of 16x20 pixels; every command is a process of its own.
"""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from command_server import ROOT, CommandServer
from patience import until
from PIL import Image
from test_crops import cfg as make_cfg
from test_crops import contents, make_dataset

from mmseg.config import Config
from mmseg.preprocessing.choices import Options
from mmseg.preprocessing.preprocess import preprocess
from mmseg.system.files import partial_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
NUM = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("gta")
    make_dataset(root)
    make_cfg.__wrapped__(root).dump(root / "tiny.py")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CommandServer(tmp_path_factory.mktemp("said")) as running:
        yield running


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> dict[str, bytes]:
    """The files of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "crops"
    go_on(data, folder, workers=0)
    return contents(folder)


def go_on(data: Path, folder: Path, workers: int) -> list[str]:
    """Start again, in this process; return what is said."""
    lines: list[str] = []
    cfg: Config = make_cfg.__wrapped__(data)
    preprocess(cfg, Options("gta", folder, NUM, workers), say=lines.append)
    return lines


def arguments(data: Path, folder: Path, workers: int) -> list[str]:
    options = f"--config {data}/tiny.py --num {NUM} --num-workers {workers}"
    script = str(ROOT / "run_seg.py")
    return [script, *options.split(), "--source_preprocessed_path", str(folder)]


def finished(folder: Path) -> int:
    return len(list((folder / "depth").glob("*.png")))


def held_at(folder: Path, number: int) -> tuple[str, int]:
    """Let a command write so many crops and no more."""
    return str(folder / "depth"), number


def size(file: Path) -> int:
    """Return the size of a file that may vanish, in bytes."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def hidden(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


@pytest.mark.parametrize(("workers", "again"), [(0, 2), (2, 0)])
def test_killed_run_continues_with_any_number_of_workers(
    workers, again, data, server, whole, tmp_path
):
    """SIGKILL after some crops, twice; the third start gives the files of an unharmed run."""
    folder = tmp_path / "crops"
    moments = sorted(np.random.default_rng().integers(3, NUM - 10, 2).tolist())
    for moment in moments:
        command = server.start(arguments(data, folder, workers), hold=held_at(folder, moment))
        until(lambda n=moment: finished(folder) >= n)
        command.kill()
        assert command.wait()[0] == -signal.SIGKILL
        command.wait_for_group()  # workers do not outlive their main process
    done, before = finished(folder), contents(folder)
    assert done < NUM, moments
    lines = go_on(data, folder, again)
    assert contents(folder) == whole, moments
    assert any("crops are in" in line for line in lines)
    kept = {name for name in before if name in whole}
    assert all(before[name] == whole[name] for name in kept), "a half-written crop"
    assert not hidden(folder)


def test_run_killed_while_the_bank_is_written_continues(data, server, whole, tmp_path):
    folder = tmp_path / "crops"
    command = server.start(arguments(data, folder, 0), holds_bank=True)
    until(lambda: any(size(file) > NUM * 19 * 256 * 4 for file in folder.glob(".*")))
    command.kill()
    command.wait()
    assert len(hidden(folder)) == 1
    assert not list(folder.glob("*.pth"))
    lines = go_on(data, folder, 1)
    assert f"All {NUM} crops are in {folder} already." in lines
    assert contents(folder) == whole


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 0)])
def test_signal_ends_the_run_soon_and_cleanly(number, workers, data, server, whole, tmp_path):
    """Sent to main process and workers, as schedulers and terminals do.

    The crops in work are finished, and those that were handed to workers already: two each.
    """
    folder = tmp_path / "crops"
    command = server.start(arguments(data, folder, workers), hold=held_at(folder, 5))
    until(lambda: finished(folder) >= 5)
    command.signal(number)
    command.release()
    status, text = command.wait()
    command.wait_for_group()
    assert status == 75
    assert "Traceback" not in text
    name = signal.Signals(number).name
    last = text.splitlines()[-1]
    assert re.fullmatch(
        rf"Stopped by {name} after \d+ of 40 crops. Start the same command again to "
        r"continue.", last
    ), last  # fmt: skip
    assert 5 <= finished(folder) <= 5 + max(1, 3 * workers)
    assert not hidden(folder)
    go_on(data, folder, workers)
    assert contents(folder) == whole


def test_limit_on_the_size_of_files_ends_the_run_with_a_sentence(data, server, whole, tmp_path):
    """The crops fit below it, the bank does not."""
    folder = tmp_path / "crops"
    command = server.start(arguments(data, folder, 0), file_size=65536)
    status, text = command.wait()
    assert status == 1
    assert "Traceback" not in text
    bank = folder / f"gta_{NUM}_distribution.pth"
    assert f"expected to write '{bank}', got: File too large; " in text.splitlines()[-1]
    assert not bank.exists()
    assert not hidden(folder)
    assert {k: v for k, v in whole.items() if not k.endswith(".pth")} == contents(folder)
    go_on(data, folder, 0)
    assert contents(folder) == whole


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw") / "gta"
    (root / "labels").mkdir(parents=True)
    for number in range(30):
        label = np.random.default_rng(number).integers(0, 34, (6, 9)).astype(np.uint8)
        Image.fromarray(label).save(root / f"labels/{number:05d}.png")
    return root


@pytest.fixture(scope="module")
def converted(labels, tmp_path_factory, server) -> dict[str, bytes]:
    root = Path(shutil.copytree(labels, tmp_path_factory.mktemp("converted") / "gta"))
    status, text = server.start([*CONVERT, str(root), "--nproc", "1"]).wait()
    assert status == 0, text
    return {name: content.replace(bytes(root), b"") for name, content in contents(root).items()}


CONVERT = [str(ROOT / "tools/convert_datasets/gta.py")]


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGKILL, 2), (signal.SIGTERM, 2), (signal.SIGTERM, 1)]
)
def test_interrupted_converter_started_again_gives_the_same_files(
    number, processes, labels, converted, server, tmp_path
):
    root = Path(shutil.copytree(labels, tmp_path / "gta"))
    options = ["--nproc", str(processes)]
    hold = (str(root / "labels"), 30 + 4)  # the raw ones lie there too
    command = server.start([*CONVERT, str(root), *options], hold=hold)
    until(lambda: len(list((root / "labels").glob("*_labelTrainIds.png"))) >= 4)
    if number == signal.SIGKILL:
        command.kill()
    else:
        command.signal(number)
        command.release()
    status, text = command.wait()
    command.wait_for_group()
    assert status == (75 if number == signal.SIGTERM else -signal.SIGKILL), text
    assert not (root / "samples_with_class.json").exists()
    if number == signal.SIGTERM:
        assert text.splitlines()[-1].startswith("Stopped by SIGTERM after ")
        assert not hidden(root)
    # What a process that was killed in the middle of a file leaves, if none was this time.
    left = partial_of(root / "labels/00003_labelTrainIds.png").name
    (root / "labels" / left.replace(f"-{os.getpid()}-", f"-{command.pid}-")).write_bytes(b"half")
    status, text = server.start([*CONVERT, str(root), "--nproc", "2"]).wait()
    assert status == 0, text
    again = {name: content.replace(bytes(root), b"") for name, content in contents(root).items()}
    assert again == converted
