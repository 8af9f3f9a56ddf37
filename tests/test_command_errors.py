"""What a command says when something is missing or wrong: one sentence, no traceback."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from demo_project import ROOT, copy_folder, run
from PIL import Image

from demo.datasets import demo_jobs, draw
from mmseg.cli.endings import user_errors
from mmseg.config import load_config
from mmseg.preprocessing.label_conversion import convert_cityscapes, convert_gta
from mmseg.system.errors import ConfigError
from mmseg.system.workers import WorkerError

SOURCE_ONLY = """
_base_ = ["demo/source_only.py"]
load_from = None
runner = dict(max_iters=2)
data = dict(workers_per_gpu=0, train=dict(rare_class_sampling=dict(min_pixels=1)))
"""
CDDA = SOURCE_ONLY.replace("source_only", "cdda_daformer")
TRAIN = "python tools/train.py configs/mine --work-dir work_dirs/run"
TEST = "python tools/test.py configs/mine latest.pth"
TRAIN_CDDA = (
    f"{TRAIN} --cfg-options uda.matrix_path=made/gta_3_distribution.pth uda.dataset=gta "
    "uda.croped_images_path=made/images uda.croped_labels_path=made/labels "
    "uda.reweight_threshold=0.2 uda.relabel_threshold=0.2 uda.source_only=False"
)
RUN_SEG = "python run_seg.py --config configs/mine --source_preprocessed_path crops --num 3"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the commands, the configs and a GTA and a Cityscapes of two images each."""
    root = tmp_path_factory.mktemp("original")
    for name in ("tools", "run_seg.py", "run_experiments.py"):
        (root / name).symlink_to(ROOT / name)
    copy_folder(ROOT / "configs", root / "configs", "generated")
    (root / "configs/mine.py").write_text(SOURCE_ONLY)
    for job in demo_jobs(root / "data/demo", 2, 2, (96, 64)):
        if job.domain.name != "synthia" and job.index < 200_000:
            draw(job, seed=0)
    convert_gta(root / "data/demo/gta", processes=1)
    convert_cityscapes(root / "data/demo/cityscapes", processes=1)
    assert run(root, RUN_SEG.replace("crops", "made")).status == 0
    return root


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(original, tmp_path / "project", symlinks=True))


def last_words(project: Path, command: str) -> str:
    """Return what a failing command ends with; it has to be a single line."""
    status = run(project, command).status
    assert isinstance(status, str), f"expected a failure with a sentence, got {status!r}"
    assert "\n" not in status
    assert "Traceback" not in status
    return status


def spoil_sizes(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        Image.fromarray(np.zeros((40, 56), np.uint8)).save(path)


SPOILED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no dataset": (
        lambda data: shutil.rmtree(data / "gta"),
        TRAIN,
        r"FileNotFoundError: expected the images of GTADataset in 'data/demo/gta/images', got no "
        r"such folder. Download them",
    ),
    "no validation images": (
        lambda data: shutil.rmtree(data / "cityscapes/leftImg8bit/val"),
        TRAIN,
        r"images of CityscapesDataset in 'data/demo/cityscapes/leftImg8bit/val', got no such",
    ),
    "image without label": (
        lambda data: (data / "gta/labels/00002_labelTrainIds.png").unlink(),
        TRAIN,
        r"got none for 1 of 2: image 'data/demo/gta/images/00002\.png', missing "
        r"'data/demo/gta/labels/00002_labelTrainIds\.png'. Make the labels with: "
        r"python tools/convert_datasets/gta\.py data/demo/gta --nproc 8",
    ),
    "image without depth": (
        lambda data: (data / "gta/depth_any/00001.png").unlink(),
        TRAIN_CDDA,
        r"got none for 1 of 2: image 'data/demo/gta/images/00001\.png', missing "
        r"'data/demo/gta/depth_any/00001\.png'. Make them with: python tools/make_depth\.py "
        r"data/demo/gta/images --out data/demo/gta/depth_any --layout gta --model small .* or set "
        r"dep_dir=None",
    ),
    "target image without depth": (
        lambda data: shutil.rmtree(data / "cityscapes/depth_any/train"),
        TRAIN_CDDA,
        r"a depth map for every image of 'data/demo/cityscapes/leftImg8bit/train' in "
        r"'data/demo/cityscapes/depth_any/train', got no such folder. Make them with: "
        r"python tools/make_depth\.py data/demo/cityscapes/leftImg8bit/train --out "
        r"data/demo/cityscapes/depth_any/train --layout cityscapes --model small ",
    ),
    "depth of another size": (
        lambda data: spoil_sizes(data / "gta/depth_any"),
        TRAIN_CDDA,
        r"ValueError: expected depth of 96x64 pixels for the image 'data/demo/gta/images/0000\d\."
        r"png', got 56x40 in 'data/demo/gta/depth_any/0000\d\.png'. Make it from the image",
    ),
    "depth of another size for run_seg": (
        lambda data: spoil_sizes(data / "gta/depth_any"),
        RUN_SEG,
        r"ValueError: expected depth of 96x64 pixels for the image .* got 56x40 in ",
    ),
    "no statistics": (
        lambda data: (data / "gta/samples_with_class.json").unlink(),
        TRAIN,
        r"expected the class statistics for rare class sampling at 'data/demo/gta/samples_with_"
        r"class\.json', got no such file. Make the statistics with: "
        r"python tools/convert_datasets/gta\.py data/demo/gta --nproc 8",
    ),
    "rare classes too small": (
        lambda data: (data.parents[1] / "configs/mine.py").write_text(
            SOURCE_ONLY.replace("min_pixels=1", "min_pixels=9999")
        ),
        TRAIN,
        r"ValueError: expected an image of 'data/demo/gta/images' with more than 9999 pixels of "
        r"class \d+, got none .* Lower rare_class_sampling\.min_pixels",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_data_is_named_with_its_remedy(case: str, project: Path) -> None:
    spoil, command, message = SPOILED[case]
    spoil(project / "data/demo")
    assert re.search(message, last_words(project, command))


def test_converter_names_the_missing_folder(project: Path) -> None:
    words = last_words(project, "python tools/convert_datasets/gta.py data/gta")
    assert words.startswith(
        "FileNotFoundError: expected the label folder 'data/gta/labels', got no"
    )


def test_a_loaders_worker_says_no_more_than_the_sentence(project: Path) -> None:
    """The whole command, in a process of its own, as a user sees it."""
    spoil_sizes(project / "data/demo/cityscapes/depth_any")
    done = subprocess.run(
        [sys.executable, *TRAIN_CDDA.split()[1:], "data.workers_per_gpu=1"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    *others, last = done.stderr.splitlines()  # warnings of libraries, if any, come before
    assert re.match(r"ValueError: expected depth of 96x64 pixels .* got 56x40 in ", last)
    assert not re.search("Traceback|expected depth", "".join(others))
    assert "Traceback" not in done.stdout
    assert "expected depth of 96x64" not in done.stdout  # said once, on stderr, and in the log
    (log,) = project.glob("work_dirs/**/*.log")
    assert "The run ended early: expected depth of 96x64 pixels" in log.read_text()


MATRIX = load_config(ROOT / "configs/demo/cdda_daformer").uda.matrix_path
REMEDY = (
    r"with: python run_seg\.py --config <this config> --dataset_name gta "
    r"--source_preprocessed_path preprocessed/demo_gta --num \d+"
)


def test_wrong_matrix_path_names_the_command_that_makes_it(project: Path) -> None:
    (project / "configs/mine.py").write_text(CDDA)
    words = last_words(project, TRAIN)
    assert re.search(rf"No depth statistics at '{MATRIX}'\. Create them {REMEDY}", words)
    for name, content in (("junk", b"junk\n"), ("page", b"<html>"), ("empty", b"")):
        file = project / f"{name}.pth"
        file.write_bytes(content)
        words = last_words(project, f"{TRAIN} --cfg-options uda.matrix_path={file.name}")
        assert re.search(rf"'{file.name}': expected a tensor saved by run_seg\.py, got a", words)
    (project / MATRIX).parent.mkdir(parents=True)
    torch.save(torch.zeros(2, 19, 9), project / MATRIX)
    words = last_words(project, TRAIN)
    assert re.search(r"expected a tensor \(crops, classes, 256\), got \(2, 19, 9\)", words)
    assert re.search(REMEDY, words)


def test_missing_crops_end_the_run_at_its_start(project: Path) -> None:
    (project / "configs/mine.py").write_text(CDDA)
    (project / MATRIX).parent.mkdir(parents=True)
    torch.save(torch.zeros(3, 19, 256), project / MATRIX)
    words = last_words(project, TRAIN)
    assert "source crops in 'preprocessed/demo_gta/images', got no such folder" in words
    assert "run_seg.py" in words


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("uda = dict(alhpa=0.9)", "unknown key 'alhpa' in training method 'DACS'; .* 'alpha'"),
        ("uda = dict(type='DCAS')", "unknown training method type 'DCAS'; did you mean 'DACS'"),
        ("model = dict(backbone=dict(type='mit_b9'))", "unknown backbone type 'mit_b9'; .*'mit_b"),
        ("model = dict(decode_haed=dict())", "unknown key 'decode_haed' .*'decode_head'"),
        ("data = dict(train=dict(source=dict(typ=1)))", "unknown key 'typ' in dataset 'GTADataset"),
        ("data = dict(tset=dict())", "unknown key 'tset' in data; did you mean 'test'"),
        ("optimizer = dict(wieght_decay=1)", "unknown key 'wieght_decay' .*'weight_decay'"),
        ("lr_config = dict(polici='poly')", "unknown key 'polici' .*; did you mean 'policy'"),
        ("runner = dict(max_iter=3)", "unknown key 'max_iter' in runner; .*'max_iters'"),
        ("evaluation = dict(intervall=3)", "unknown key 'intervall' in evaluation; .*'interval'"),
        ("log_config = dict(intervl=3)", "unknown key 'intervl' in log_config; .*'interval'"),
    ],
)
def test_misspelt_key_or_type_names_file_and_nearest(
    addition: str, message: str, project: Path
) -> None:
    (project / "configs/parent.py").write_text(SOURCE_ONLY)
    (project / "configs/mine.py").write_text(f"_base_ = ['parent.py']\n{addition}\n")
    words = last_words(project, TRAIN)
    assert re.match(rf"ConfigError: configs/mine\.py:2: {message}", words), words


@pytest.mark.parametrize("command", [TRAIN, RUN_SEG, "python tools/print_config.py configs/mine"])
def test_option_into_nothing_names_the_nearest(command: str, project: Path) -> None:
    words = last_words(project, f"{command} --cfg-options optimzer.lr=1")
    assert "--cfg-options: the config has no 'optimzer'; did you mean 'optimizer'?" in words


@pytest.mark.parametrize(
    "command",
    [
        "python tools/train.py configs/demo/cdda_dafromer",
        "python tools/test.py configs/demo/cdda_dafromer.py none.pth",
        "python tools/print_config.py configs/demo/cdda_dafromer",
        "python tools/contact_sheet.py configs/demo/cdda_dafromer",
        "python run_seg.py --config configs/demo/cdda_dafromer",
        "python run_experiments.py --config configs/demo/cdda_dafromer",
    ],
)
def test_missing_config_names_similar_ones(command: str, project: Path) -> None:
    words = last_words(project, command)
    assert re.search(r"No config file at 'configs/demo/cdda_dafromer(\.py)?' \(with or with", words)
    assert "The most similar are: configs/demo/cdda_daformer.py," in words


def test_unknown_experiment_names_the_known_ones(project: Path) -> None:
    words = last_words(project, "python run_experiments.py --exp 7")
    assert words == "ConfigError: expected an experiment among 80, 81, 82, 83, 84, 85, got 7."


OTHER = {"state_dict": {"model.backbone.conv1.weight": torch.zeros(3, 5)}, "meta": {}}


@pytest.mark.parametrize(
    "command", [TEST, f"{TRAIN} --cfg-options load_from=latest.pth", f"{TRAIN} --resume latest.pth"]
)
def test_checkpoint_of_another_network_names_its_keys(command: str, project: Path) -> None:
    torch.save(OTHER, project / "latest.pth")
    words = last_words(project, command)
    assert re.match(r"CheckpointError: expected the weights of this \w+, got others in the", words)
    assert "checkpoint 'latest.pth': missing: " in words
    assert re.search(r"missing: .*backbone\.patch_embed1\.proj\.weight, .* … \(\d+ in all\)", words)
    assert re.search(r"; unexpected: (model\.)?backbone\.conv1\.weight\. Use the config", words)


@pytest.mark.parametrize("content", [b"junk\n", b"\x80\x02.", b"", b"PK\x03\x04"])
def test_broken_checkpoint_is_named(content: bytes, project: Path) -> None:
    (project / "latest.pth").write_bytes(content)
    for command in (TEST, "python tools/publish_checkpoint.py latest.pth out.pth"):
        words = last_words(project, command)
        assert "expected a checkpoint of tensors and plain values at 'latest.pth'" in words


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python tools/publish_checkpoint.py none.pth out.pth", "No checkpoint at 'none.pth'"),
        ("python tools/plot_curves.py work_dirs/none", "expected a log .* in work_dirs/none, got"),
        (
            "python tools/contact_sheet.py configs/mine --split vall",
            "unknown part 'vall' in --split vall; did you mean 'val'",
        ),
        (
            "python tools/contact_sheet.py configs/mine --preds none",
            "expected a label PNG at 'none/.*_leftImg8bit.png', got no such file",
        ),
        (f"{RUN_SEG} --not_get_images --not_get_distributions", "expected something to do, got"),
        (f"{RUN_SEG} --not_get_images", "expected 3 crops in crops, got 0: .* Draw them with: "),
        (f"{RUN_SEG} --dataset_name synthia", "expected --dataset_name gta for|got 'synthia'"),
    ],
)
def test_wrong_arguments_end_with_one_sentence(command: str, message: str, project: Path) -> None:
    (project / "configs/mine.py").write_text(SOURCE_ONLY + "\nuda = dict(dataset='gta')\n")
    assert re.search(message, last_words(project, command))


def test_a_command_that_leaves_at_once_fails_its_own_test_only() -> None:
    """Without the guard of `conftest.py`, all later tests would go with it."""
    with pytest.raises(AssertionError, match=r"by os._exit\(1\)"), user_errors():
        raise WorkerError("x")


def test_mistakes_of_the_program_keep_their_traceback() -> None:
    """A sentence without a traceback would hide where they are."""
    with pytest.raises(ValueError, match="shapes"), user_errors():
        np.zeros(3).dot(np.zeros(4))
    with pytest.raises(ValueError, match="Expecting value"), user_errors():
        json.loads("")
    with pytest.raises(SystemExit, match="ConfigError: x"), user_errors():
        raise ConfigError("x")
