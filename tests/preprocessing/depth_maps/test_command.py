"""`tools/make_depth.py` in processes of its own: signals, kills, several at once, last words."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_server import ROOT, Command, CommandServer
from depth_runs import contents
from patience import until
from PIL import Image

from mmseg.system.files import partial_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
SCRIPT = str(ROOT / "tools/make_depth.py")
MODULES = (
    "mmseg.preprocessing.depth_maps.make_maps",
    "transformers.models.depth_anything.modeling_depth_anything",
    "transformers.models.dinov2.modeling_dinov2",
)
NUM = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CommandServer(tmp_path_factory.mktemp("said"), *MODULES) as running:
        yield running


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Thirty images of three sizes."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(4)
    for number in range(NUM):
        height, width = [(30, 52), (44, 36), (28, 28)][number % 3]
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def whole(many, model, server, tmp_path_factory) -> dict[str, bytes]:
    """The files of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "maps"
    status, text = start(server, many, out, model).wait()
    assert status == 0, text
    assert "Traceback" not in text
    assert f"Made {NUM} maps in {out}." in text
    assert f"{NUM}/{NUM} [" in text  # the bar, with rate and time left
    assert re.search(r"image/s\]", text)
    return contents(out)


def start(
    server: CommandServer, images: Path, out: Path, model: Path, *options: str, **order: object
) -> Command:
    environment = {"HF_HUB_OFFLINE": "1", **order.pop("environment", {})}
    arguments = [SCRIPT, str(images), "--out", str(out), "--model", str(model), "--device", "cpu"]
    return server.start([*arguments, *options], environment=environment, **order)


def finished(out: Path) -> int:
    return len(list(out.glob("*.png")))


def held_at(out: Path, number: int) -> tuple[str, int]:
    """Let commands write so many maps and no more."""
    return str(out), number


def last_words(text: str) -> str:
    assert "Traceback" not in text
    return text.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 0), (signal.SIGUSR1, 1)]
)
def test_signal_ends_the_run_soon_and_cleanly_and_the_same_command_goes_on(
    number, workers, many, model, server, whole, tmp_path
):
    """Sent to main process and readers, as schedulers and terminals do."""
    out, options = tmp_path / "maps", ("--num-workers", str(workers))
    command = start(server, many, out, model, *options, hold=held_at(out, 4))
    until(lambda: finished(out) >= 4)
    command.signal(number)
    command.release()
    status, text = command.wait()
    command.wait_for_group()
    assert status == 75
    count = re.fullmatch(
        rf"Stopped by {signal.Signals(number).name} after (\d+) of {NUM} maps. "
        "Start the same command again to continue.",
        last_words(text),
    )
    assert count
    assert finished(out) == int(count[1])
    assert 4 <= finished(out) < NUM
    assert not list(out.rglob(".*"))
    assert all(whole[name] == content for name, content in contents(out).items())
    status, text = start(server, many, out, model, *options).wait()
    assert status == 0, text
    assert f"{count[1]} of {NUM} maps are in {out} already." in text
    assert contents(out) == whole


@pytest.mark.parametrize(("workers", "again"), [(0, 2), (2, 0)])
def test_killed_run_leaves_no_half_file_and_goes_on(
    workers, again, many, model, server, whole, tmp_path
):
    """SIGKILL to the main process after some maps, twice."""
    out = tmp_path / "maps"
    moments = sorted(np.random.default_rng().integers(2, NUM - 8, 2).tolist())
    for moment in moments:
        options = ("--num-workers", str(workers))
        command = start(server, many, out, model, *options, hold=held_at(out, moment))
        until(lambda n=moment: finished(out) >= n)
        command.kill()
        assert command.wait()[0] == -signal.SIGKILL
        command.wait_for_group()  # readers do not outlive it
    done = contents(out)
    assert len(done) <= NUM, moments
    assert all(whole[name] == content for name, content in done.items()), moments
    # What a process leaves that was killed in the middle of a file, if none was this time.
    left = partial_of(out / "03.png").name.replace(f"-{os.getpid()}-", f"-{command.pid}-")
    (out / left).write_bytes(b"half")
    status, text = start(server, many, out, model, "--num-workers", str(again)).wait()
    assert status == 0, text
    assert contents(out) == whole, moments
    assert not list(out.rglob(".*"))


def says_nothing(text: str) -> bool:
    """Tell whether a command has left all words to another one; libraries may warn."""
    return not re.search("map|image|expected", text)


def two(server: CommandServer, *arguments: object, **order: object) -> list[Command]:
    """Start what `torchrun --nproc_per_node 2` starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {name: str(value) for name, value in place.items()}
        commands.append(start(server, *arguments, environment=environment, **order))
    return commands


def test_two_processes_share_the_images_and_sum_up(many, model, server, whole, tmp_path):
    images = Path(shutil.copytree(many, tmp_path / "images"))
    (images / "21.png").write_bytes(b"broken")
    out = tmp_path / "maps"
    commands = two(server, images, out, model, "--num-workers", "1")
    results = [command.wait() for command in commands]
    assert [status for status, _ in results] == [1, 1]
    first, second = (text for _, text in results)
    assert f"Made {NUM - 1} maps in {out}." in first
    assert "15/15 [" in first  # its own share
    assert f"  expected an image file at '{images}/21.png', got a broken file" in first
    assert last_words(first) == "No map of 1 file, see above."
    assert says_nothing(second)
    shutil.copy(many / "21.png", images)
    results = [command.wait() for command in two(server, images, out, model)]
    assert [status for status, _ in results] == [0, 0]
    assert f"{NUM - 1} of {NUM} maps are in {out} already." in results[0][1]
    assert contents(out) == whole
    results = [command.wait() for command in two(server, images, out, model)]
    assert [status for status, _ in results] == [0, 0]
    assert f"All {NUM} maps are in {out} already, made with {model} as inverse" in results[0][1]


def test_two_processes_end_together_with_one_sentence(
    many, model, other_model, server, whole, tmp_path
):
    out = tmp_path / "maps"
    out.mkdir()
    for name in ("00.png", "depth.json"):
        (out / name).write_bytes(whole[name])
    results = [command.wait() for command in two(server, many, out, other_model)]
    assert [status for status, _ in results] == [1, 1]
    assert last_words(results[0][1]).startswith("ValueError: expected the maps in")
    assert says_nothing(results[1][1])
    assert set(contents(out)) == {"00.png", "depth.json"}


def test_stopped_pair_and_lost_process_end_and_go_on(many, model, server, whole, tmp_path):
    """First a signal to both, then one alone is killed, then nothing happens."""
    out = tmp_path / "maps"
    commands = two(server, many, out, model, "--num-workers", "0", hold=held_at(out, 4))
    until(lambda: finished(out) >= 4)
    for command in commands:
        command.signal(signal.SIGTERM)
        command.release()
    for rank, command in enumerate(commands):
        status, text = command.wait()
        assert status == 75, text
        assert re.search(rf"after \d+ of 15 maps of process {rank}. Start the", last_words(text))
    done = finished(out)
    commands = two(server, many, out, model, "--num-workers", "0", hold=held_at(out, done + 3))
    until(lambda: finished(out) >= done + 3)
    commands[1].kill()
    commands[1].wait()
    commands[0].release()
    status, text = commands[0].wait()
    assert status == 1
    assert last_words(text) == (
        "ProcessGroupError: Process 0 of 2 has lost another one. Look at what that one said, and "
        "start the same command again."
    )
    done = finished(out)
    assert done < NUM
    results = [command.wait() for command in two(server, many, out, model)]
    assert [status for status, _ in results] == [0, 0]
    assert f"{done} of {NUM} maps are in {out} already." in results[0][1]
    assert contents(out) == whole


LAST_WORDS = {
    "no images": (["nowhere"], r"expected a folder or a file at 'nowhere', got nothing there\."),
    "no model": (
        ["images", "--model", "./nothing"],
        r"expected a folder .*'./nothing', got no suc",
    ),
    "device": (["images", "--device", "gpu7"], r"such as cpu, .* got --device gpu7: .*\. Leave"),
    "out is a file": (["images", "--out", "file"], r"expected to write 'file', got: .*; choose a"),
    "preview": (["images", "--preview", "file"], r"expected a new file .*--preview .*, got 'file'"),
    "launcher": (["images", "--launcher", "pytorch"], r"expected the variables RANK, .* under"),
}


@pytest.mark.parametrize("case", LAST_WORDS)
def test_errors_end_the_command_with_one_sentence(case, many, model, server, tmp_path):
    arguments, message = LAST_WORDS[case]
    (tmp_path / "images").symlink_to(many)
    (tmp_path / "file").touch()
    usual = ["--model", str(model), "--device", "cpu", "--out", "maps"]
    order = {"environment": {"HF_HUB_OFFLINE": "1"}, "folder": str(tmp_path)}
    status, text = server.start([SCRIPT, *usual, *arguments], **order).wait()
    assert status == 1, text
    assert re.match(rf"\w+: .*{message}", last_words(text))
    assert not (tmp_path / "maps").exists() or not finished(tmp_path / "maps")


def test_limit_on_the_size_of_files_ends_the_run_with_a_sentence(many, model, server, tmp_path):
    """The record fits below it, the maps do not."""
    images = tmp_path / "images"
    images.mkdir()
    Image.effect_noise((200, 150), 60).convert("RGB").save(images / "noise.png")
    out = tmp_path / "maps"
    said = {0: f"expected to write '{out}/noise.png', got: File too large; "}
    said[1] = "bytes of shared memory for samples, got: .*too large.*use fewer workers"
    for workers, message in said.items():  # the memory that processes share has the same limit
        options = ("--num-workers", str(workers))
        status, text = start(server, images, out, model, *options, file_size=5000).wait()
        assert status == 1
        assert re.search(message, last_words(text))
        assert sorted(contents(out)) == ["depth.json"]
        assert not list(out.rglob(".*"))


@pytest.mark.slow
def test_torchrun_runs_it(many, model, whole, tmp_path):
    out = tmp_path / "maps"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", SCRIPT]
    command += [str(many), "--out", str(out), "--model", str(model), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"Made {NUM} maps in {out}." in done.stdout
    assert contents(out) == whole
