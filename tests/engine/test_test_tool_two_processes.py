"""Two processes (gloo) of tools/test.py write what one process writes, to the last bit.

One pair of processes gives all commands: metrics, pictures and a file of all labels; files for a
test server; their archive. There are three images: process 0 labels two of them, process 1 one.
"""

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import models_cfg
import pytest
import tiny_run
import torch
from golden_init import init_module
from patience import PATIENCE
from threads import one_thread

from mmseg.datasets.image_files import read_label
from mmseg.models import build_segmentor
from tools import export_submission
from tools import test as test_tool

ROOT = Path(__file__).parents[2]
PROCESSES = 2
TOOLS = {"test": test_tool, "export_submission": export_submission}
BACKBONE = {
    "type": "MixVisionTransformer",
    "embed_dims": [8, 12, 16, 24],
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 3],
}
SLIDE = {"mode": "slide", "crop_size": (64, 64), "stride": (48, 64)}
# What one process of a launcher does: run the commands. Each has a port of its own: the faster
# process would meet what the slower one has not yet closed.
PROGRAM = """
import json, os, runpy, sys
for os.environ["MASTER_PORT"], (script, *sys.argv[1:]) in json.loads(sys.argv[1]):
    runpy.run_path(f"tools/{script}.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return what one process and what two processes have written, by their number."""
    root = tmp_path_factory.mktemp("processes")
    tiny_run.write_pictures(root)
    model = models_cfg.hrda(channels=16, embed=16, hr_crop=(48, 64), test_cfg=SLIDE)
    model["backbone"] = BACKBONE
    model["decode_head"]["in_channels"] = BACKBONE["embed_dims"]
    values = tiny_run.config(root, "SynthiaDataset", model=model)
    tiny_run.write_config(root / "tiny.py", values)
    weights = init_module(build_segmentor(model)).state_dict()
    torch.save({"state_dict": weights}, root / "tiny.pth")
    with one_thread():
        for script, *words in commands(root, root / "1"):
            TOOLS[script].main(words)
    run_in_processes(commands(root, root / "2"))
    return {1: root / "1", 2: root / "2"}


def commands(root: Path, folder: Path) -> list[list[str]]:
    files = [str(root / "tiny.py"), str(root / "tiny.pth")]
    metrics = ["--eval", "mIoU", "mDice", "mFscore", "--out", str(folder / "labels.pkl")]
    pictures = ["--show-dir", str(folder / "preds"), "--opacity", "1"]
    server = ["--format-only", "--eval-options", f"imgfile_prefix={folder}/server"]
    archive = ["--checkpoint", files[1], "--config", files[0], "--out", f"{folder}/server.zip"]
    return [
        ["test", *files, "--work-dir", str(folder), *metrics, *pictures],
        ["test", *files, "--work-dir", str(folder), *server],
        ["export_submission", "cityscapes", "--split", "val", *archive],
    ]


def run_in_processes(given: Sequence[Sequence[str]]) -> None:
    with ExitStack() as listeners:
        sockets = [listeners.enter_context(socket.socket()) for _ in given]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        ports = [str(listener.getsockname()[1]) for listener in sockets]
    runs = json.dumps(list(zip(ports, given, strict=True)))
    shared = {"WORLD_SIZE": PROCESSES, "MASTER_ADDR": "127.0.0.1"}
    # No GPU: results must not depend on how many there are.
    shared |= {"OMP_NUM_THREADS": 1, "CUDA_VISIBLE_DEVICES": ""}
    started = []
    for rank in range(PROCESSES):
        place = {"RANK": rank, "LOCAL_RANK": rank, **shared}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, runs],
                env={**os.environ, **{key: str(value) for key, value in place.items()}},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=PATIENCE)[0] for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, said


def test_metrics_are_exactly_those_of_one_process(folders: dict[int, Path]) -> None:
    alone, together = ((folders[n] / "results.json").read_text() for n in (1, 2))
    assert together == alone
    record = json.loads(together)
    assert record["num_images"] == 3
    assert record["split"].endswith("leftImg8bit/val")
    assert {"mIoU19", "mIoU16", "mIoU13", "mDice", "mFscore"} <= set(record)
    assert 0 < record["mIoU"] < 1


def test_files_are_exactly_those_of_one_process(folders: dict[int, Path]) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    alone, together = (contents(folders[n]) for n in (1, 2))
    assert sorted(together) == sorted(alone)
    assert [name for name in alone if together[name] != alone[name]] == []
    assert sum(name.startswith("preds/") for name in together) == 3
    assert sum(name.startswith("server/") for name in together) == 3
    assert "server.zip" in together


def test_labels_are_written_in_the_order_of_the_images(folders: dict[int, Path]) -> None:
    labels = pickle.loads((folders[2] / "labels.pkl").read_bytes())
    pictures = sorted((folders[2] / "preds").rglob("*.png"))
    assert len(labels) == len(pictures) == 3
    for label, picture in zip(labels, pictures, strict=True):
        assert (read_label(picture) == label).all()
    assert (labels[0] != labels[1]).any()


def test_only_one_process_writes_a_log(folders: dict[int, Path]) -> None:
    logs = [file.read_text() for file in sorted(folders[2].glob("*.log"))]
    text = "".join(logs)
    assert text.count("Results of the student: ") == 1
    assert text.count("Wrote 3 label maps to ") == 1
