"""Faults of data and folders as a user of the commands meets them.

Every command ends with one sentence that names the file, and what was written before stays.
"""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_runs
import tiny_run
import torch
from demo_project import ROOT, run

from mmseg.datasets.image_files import write_label
from mmseg.datasets.loader import index_of
from mmseg.models.uda.depthmetric import depth_histogram

NUM = 4
TRAIN = "python tools/train.py mine.py --work-dir run --no-validate"
EXPERIMENT = "python run_experiments.py --config mine.py"
TEST = "python tools/test.py mine.py run/latest.pth"
RUN_SEG = f"python run_seg.py --config mine.py --source_preprocessed_path made --num {NUM}"
SEG_OPTIONS = "--num-workers 0 --dataset_name gta"


def make_project(root: Path) -> Path:
    """Write the commands and the pictures, all with depth, into a folder."""
    for name in ("tools", "run_seg.py", "run_experiments.py"):
        (root / name).symlink_to(ROOT / name)
    small_runs.write_material(root)
    for image in (root / "source/images").iterdir():
        depth = np.random.default_rng(int(image.stem)).integers(0, 256, (72, 96))
        write_label(root / "source/depth" / image.name, depth)
    return root


def configure(root: Path, method: str = "source_only", file: str = "mine.py", **changes) -> None:
    """Write a config of one image per iteration; `changes` as in `small_runs.config`."""
    values = small_runs.config(root, method, **changes)
    values["data"]["samples_per_gpu"] = 1
    values["data"]["train"]["source"]["dep_dir"] = str(root / "source/depth")
    tiny_run.write_config(root / file, values)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original, tmp_path) -> Path:
    """A copy to spoil, with a config that trains on the source alone."""
    root = Path(shutil.copytree(original, tmp_path / "project", symlinks=True))
    configure(root)
    return root


def last_words(project: Path, command: str) -> str:
    """Return what a failing command ends with; it has to be a single line."""
    outcome = run(project, command)
    assert isinstance(outcome.status, str), outcome
    assert "\n" not in outcome.status
    assert "Traceback" not in outcome.text
    return outcome.status


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, as a bad disk does."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def put_id(path: Path, value: int = 26) -> None:
    """Change the class of one pixel of a label."""
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    label[5, 6] = value
    write_label(path, label)


def all_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def spoil(change, folder: str):
    return lambda root: [change(path) for path in all_files(root / folder)]


WORKER = "--cfg-options data.workers_per_gpu=1"
IDS = (
    r"expected train ids 0…18 or 255 \(ignored\) in the label '.*/{}/.*_labelTrainIds\.png', got 26"
)
GTA = IDS.format("source/labels") + r". Make the labels with: python tools/convert_datasets/gta\.py"
CITYSCAPES = IDS.format("target/gtFine/val/town") + r". Make .* tools/convert_datasets/citysc"
BROKEN = r"got a broken file: the checksum of its chunk at byte \d+ is wrong. Copy"
FAULTS = {
    "ids in training": (spoil(put_id, "source/labels"), f"{TRAIN} {WORKER}", f"ValueError: {GTA}"),
    "ids in an experiment": (spoil(put_id, "source/labels"), EXPERIMENT, f"ValueError: {GTA}"),
    "ids in run_seg": (spoil(put_id, "source/labels"), f"{RUN_SEG} {SEG_OPTIONS}", GTA),
    "ids in a test": (spoil(put_id, "target/gtFine/val"), TEST, f"ValueError: {CITYSCAPES}"),
    "flipped image": (
        spoil(flip, "source/images"),
        f"{TRAIN} {WORKER}",
        rf"ValueError: expected an image file at '.*/source/images/0000\d\.png', {BROKEN}",
    ),
    "flipped label": (
        spoil(flip, "source/labels"),
        TRAIN,
        rf"ValueError: expected a label PNG at '.*/source/labels/0000\d_labelTra.*\.png', {BROKEN}",
    ),
    "flipped depth": (
        lambda root: (configure(root, "cdda"), spoil(flip, "target/depth")(root)),
        f"{TRAIN} {WORKER}",
        r"ValueError: Depth of the image '.*town_00000\d_000019_leftImg8bit\.png': expected an "
        rf"image file at '.*/target/depth/train/town/.*_depth\.png', {BROKEN}",
    ),
    "flipped depth in run_seg": (
        spoil(flip, "source/depth"),
        f"{RUN_SEG} {SEG_OPTIONS}",
        rf"\w+: Depth of the image '.*/source/images/.*source/depth/.*', {BROKEN}",
    ),
    "flipped image in a test": (
        spoil(flip, "target/leftImg8bit/val"),
        TEST,
        rf"ValueError: .* '.*/target/leftImg8bit/val/town/town_000000_.*\.png', {BROKEN}",
    ),
    "flipped image while painting": (
        spoil(flip, "target/leftImg8bit/val"),
        f"{TEST} --show-dir preds --cfg-options data.workers_per_gpu=1",
        rf"ValueError: .* '.*/target/leftImg8bit/val/town/town_000000_.*\.png', {BROKEN}",
    ),
    "file in the way of a run": (
        lambda root: shutil.rmtree(root / "source"),
        "python tools/train.py mine.py --work-dir notes/run",
        r"expected to write 'notes/run.*', got: Not a directory; choose a folder, not a file",
    ),
    "file in the way of crops": (
        lambda root: shutil.rmtree(root / "source"),
        f"{RUN_SEG} {SEG_OPTIONS}".replace(" made", " notes/made"),
        r"\w+: .*expected to write 'notes/made', got: Not a directory; choose a folder",
    ),
    **{
        f"file in the way of {option}": (
            lambda root: shutil.rmtree(root / "target"),
            f"{TEST} {option}notes/results{end}",
            r"expected to write 'notes/results.*', got: Not a directory; choose a folder, not a fi",
        )
        for option, end in (
            ("--work-dir ", ""),
            ("--show-dir ", ""),
            ("--out ", "/labels.pkl"),
            ("--format-only --eval-options imgfile_prefix=", ""),
        )
    },
}


@pytest.fixture(scope="module")
def checkpoint(original, tmp_path_factory) -> Path:
    root = Path(shutil.copytree(original, tmp_path_factory.mktemp("t") / "project", symlinks=True))
    configure(root)
    outcome = run(root, f"{TRAIN} --cfg-options runner.max_iters=1 checkpoint_config.interval=1")
    assert outcome.status == 0, outcome.text
    return root / "run/latest.pth"


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_ends_the_command_with_its_sentence(fault, project, checkpoint):
    harm, command, message = FAULTS[fault]
    (project / "notes").write_text("a file\n")
    if command.startswith(TEST):
        (project / "run").mkdir()
        shutil.copy(checkpoint, project / "run/latest.pth")
    harm(project)
    assert re.search(message, last_words(project, command))


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for f in folder.glob("*.log.json") for line in f.open()]


def test_fault_in_the_middle_of_a_run_loses_nothing_and_the_run_goes_on(project):
    """The image that is needed last is damaged: what was saved and logged before it stays."""
    used = [index_of(n, 6, seed=5) // 2 for n in range(6)]  # three source and two target images
    last = max(range(3), key=used.index)
    saved = used.index(last)  # iterations before it
    assert saved >= 2
    changes = {"checkpoint_config": {"interval": saved}, "log_config": {"interval": 1}}
    configure(project, runner={"max_iters": saved + 1}, **changes)
    resume = f"{TRAIN} --resume auto"
    whole = run(project, TRAIN.replace("--work-dir run", "--work-dir whole"))
    assert whole.status == 0, whole.text
    image = project / f"source/images/{last:05d}.png"
    sound = image.read_bytes()
    flip(image)
    assert re.search(BROKEN, last_words(project, TRAIN))
    kept = {file.name: file.read_bytes() for file in (project / "run").glob("*.pth")}
    assert set(kept) == {f"iter_{saved}.pth", "latest.pth"}
    assert [r["iter"] for r in records(project / "run")] == list(range(1, saved + 1))
    (log,) = (project / "run").glob("*.log")
    assert str(image) in log.read_text().splitlines()[-1]
    assert re.search(BROKEN, last_words(project, resume))  # again, without having lost anything
    assert {name: (project / "run" / name).read_bytes() for name in kept} == kept
    image.write_bytes(sound)
    done = run(project, resume)
    assert done.status == 0, done.text
    assert small_runs.differences(project / "whole/latest.pth", project / "run/latest.pth") == []


def test_source_and_target_of_two_sizes_are_named_where_they_are_mixed(project):
    """Crops of 64x64 pixels; the source is resized to 64x48 and has no Pad."""
    configure(project, "daformer", uda={"imnet_feature_dist_lambda": 0})
    words = last_words(
        project, f"{TRAIN} --cfg-options data.train.source.pipeline.2.img_scale=[64,48]"
    )
    assert re.search(
        r"ConfigError: expected source and target samples of one size, because they are mixed, got "
        r"64x48 of '.*/source/images/0000\d\.png' and 64x64 of '.*_leftImg8bit\.png'[.;] [Ee]nd "
        r"both pipelines",
        words,
    )  # fmt: skip


def test_bank_and_crops_of_two_runs_end_the_training_at_its_start(project):
    configure(project, "cdda")
    bank = project / f"crops/gta_{small_runs.CROPS}_distribution.pth"
    torch.save(torch.load(bank, weights_only=True).flip(0), bank)
    words = last_words(project, TRAIN)
    assert re.search(
        r"ConfigError: expected '.*gta_5_distribution\.pth' to be the statistics of the crops in "
        r"'.*crops/labels', got those of others: crop 0 has \d+ pixels of class \d+, not \d+[.;] "
        r".* of one run of: python run_seg\.py --config <this config> --dataset_name gta ",
        words,
    )


def test_crops_of_another_size_than_the_samples_say_what_to_do(project):
    """Smaller crops and their bank; found out when the first is used."""
    configure(project, "cdda", uda={"reweight_threshold": -1.0})
    for part in ("images", "labels"):
        for file in (project / "crops" / part).iterdir():
            picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED if part == "images" else 0)
            assert cv2.imwrite(str(file), picture[:, :48])
    histograms = []
    for index in range(small_runs.CROPS):
        label = torch.from_numpy(cv2.imread(str(project / f"crops/labels/{index}.png"), 0))
        histograms.append(depth_histogram(label, torch.full(label.shape, 100)))
    bank = project / f"crops/gta_{small_runs.CROPS}_distribution.pth"
    torch.save(torch.stack(histograms), bank)
    words = last_words(project, TRAIN)
    assert re.search(r"source crops of \(64, 64\) pixels, got \(64, 48\) for crop \d in '", words)
    assert "run run_seg.py again with this config" in words


UMLAUTS = "Prüfung 数据 – ß’s"
LONGEST = 255  # bytes of a name in the usual file systems


def deep(root: Path) -> Path:
    """Return a folder whose path has 3,000 bytes, in names of the longest length."""
    while len(str(root)) < 3000 - LONGEST:
        root = root / ("d" * LONGEST)
    return root


@pytest.mark.parametrize("kind", ["umlauts", "long"])
def test_every_command_works_on_unusual_paths(kind, tmp_path):
    """Data, config, crops, work folder and run names; run_seg, training, test and painting."""
    root = tmp_path / UMLAUTS / "größe" if kind == "umlauts" else deep(tmp_path)
    name = "Läufe 跑步" if kind == "umlauts" else "n" * LONGEST
    try:
        root.mkdir(parents=True)
    except (UnicodeEncodeError, OSError) as error:
        pytest.skip(f"no folder can have this name here: {error}")
    make_project(root)
    images = root / "target/leftImg8bit/val/town"
    first = images / "town_000000_000019_leftImg8bit.png"
    stem = (
        "Zürich 苏黎世" if kind == "umlauts" else "z" * (LONGEST - len("_gtFine_labelTrainIds.png"))
    )
    first.rename(images / f"{stem}_leftImg8bit.png")
    label = root / "target/gtFine/val/town/town_000000_000019_gtFine_labelTrainIds.png"
    label.rename(label.with_name(f"{stem}_gtFine_labelTrainIds.png"))
    config = f"{name[: LONGEST - 3]}.py"
    uda = {
        "matrix_path": str(root / name / f"gta_{NUM}_distribution.pth"),
        "croped_images_path": str(root / name / "images"),
        "croped_labels_path": str(root / name / "labels"),
    }
    short = {"runner": {"max_iters": 1}, "checkpoint_config": {"interval": 1}, "name": name[:200]}
    configure(root, "cdda", config, uda=uda, **short)
    made = f"--source_preprocessed_path '{name}' --num {NUM} --num-workers 1"
    work = f"work_dirs/{name}"
    paint = f"--eval mIoU --show-dir '{work}/{name}'"
    for command in (
        f"python run_seg.py --config '{config}' --dataset_name gta {made}",
        f"python tools/train.py '{config}' --work-dir '{work}'",
        f"python tools/test.py '{config}' '{work}/latest.pth' {paint}",
        f"python run_experiments.py --config '{config}' --no-validate",
    ):
        outcome = run(root, command)
        assert outcome.status == 0, outcome
    assert (root / work / name / f"town/{stem}_leftImg8bit.png").is_file()
    assert (root / work / config).is_file()
    assert (root / work / "iter_1.pth").is_file()
    (run_dir,) = (root / "work_dirs").glob("local-*/*")
    assert name[:200] in run_dir.name


def test_name_too_long_for_the_file_system_is_one_sentence(project):
    for command in (
        f"{TRAIN} --work-dir {'n' * (LONGEST + 1)}",
        f"{RUN_SEG} {SEG_OPTIONS} --source_preprocessed_path {'n' * (LONGEST + 1)}",
        f"{RUN_SEG} {SEG_OPTIONS} --source_preprocessed_path {'/'.join(['d' * LONGEST] * 17)}",
    ):
        words = last_words(project, command)
        assert re.search(
            r"expected to write '.*', got: File name too long; choose a shorter", words
        )
    words = last_words(project, f"{TRAIN} --cfg-options data.train.source.data_root={'n' * 300}")
    assert re.search(r"File name too long: '.*n/images'", words)
