"""From images without depth to a training: every missing map is made by the command that is named.

In one process, one after the other, as a user would go on from one message to the next.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_depth_anything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from demo_project import ROOT, Outcome, copy_folder, run  # noqa: E402

from demo.datasets import demo_jobs, draw  # noqa: E402
from mmseg.datasets.depth.bins import depth_to_bins  # noqa: E402
from mmseg.datasets.depth.record import find_record, recipe_hash  # noqa: E402
from mmseg.datasets.image_files import read_label, read_unchanged  # noqa: E402
from mmseg.preprocessing.label_conversion import convert_cityscapes, convert_gta  # noqa: E402

NUM = 3
CONFIG = f"""
_base_ = ["demo/cdda_daformer.py"]
load_from = None
runner = dict(max_iters=1)
evaluation = dict(interval=10**9)
data = dict(workers_per_gpu=0, train=dict(rare_class_sampling=dict(min_pixels=1)))
uda = dict(
    matrix_path="crops/gta_{NUM}_distribution.pth",
    croped_images_path="crops/images",
    croped_labels_path="crops/labels",
)
"""
RUN_SEG = f"python run_seg.py --config configs/mine --source_preprocessed_path crops --num {NUM}"
RUN_SEG += " --num-workers 0"
TRAIN = "python tools/train.py configs/mine --work-dir work_dirs/run --no-validate"
GTA, CITYSCAPES = Path("data/demo/gta"), Path("data/demo/cityscapes")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three source images of 320x180, two target images of 320x160, no depth, two networks."""
    root = tmp_path_factory.mktemp("project")
    for name in ("tools", "run_seg.py"):
        (root / name).symlink_to(ROOT / name)
    copy_folder(ROOT / "configs", root / "configs", "generated")
    (root / "configs/mine.py").write_text(CONFIG)
    for job in demo_jobs(root / "data/demo", 3, 2):
        if job.domain.name != "synthia" and job.index < 100_000:
            draw(job, seed=0)
    for folder in (root / "data/demo").glob("*/depth_any"):
        shutil.rmtree(folder)
    convert_gta(root / GTA, processes=1)
    convert_cityscapes(root / CITYSCAPES, processes=1)
    for seed in (0, 1):
        save_tiny_depth_anything(root / f"pretrained/tiny{seed}", seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield root


def named_command(outcome: Outcome) -> str:
    """Return the command of a message about missing depth."""
    assert isinstance(outcome.status, str), outcome
    found = re.search(r"python tools/make_depth\.py .* --model small", outcome.status)
    assert found, outcome.status
    return found[0]


def make(project: Path, command: str, seed: int = 0) -> str:
    """Run a command that makes maps, with a tiny network."""
    command = command.replace("--model small", f"--model pretrained/tiny{seed}")
    outcome = run(project, f"{command} --device cpu --num-workers 0 --batch-size 2")
    assert outcome.status == 0, outcome
    return outcome.text


@pytest.fixture(scope="module")
def said(project: Path) -> str:
    """Follow the messages to the crops; return what run_seg.py said at last."""
    mine = (project / "configs/mine.py").read_text()
    without = mine.replace("train=dict(", "train=dict(source=dict(dep_dir=None), ")
    (project / "configs/mine.py").write_text(without)
    commands = [named_command(run(project, RUN_SEG))]
    (project / "configs/mine.py").write_text(mine)
    commands.append(named_command(run(project, RUN_SEG)))
    make(project, commands[1])
    commands.append(named_command(run(project, RUN_SEG)))
    make(project, commands[2])
    named = f"{GTA}/images --out {GTA}/depth_any --layout gta --model small"
    assert commands[:2] == [f"python tools/make_depth.py {named}"] * 2
    assert commands[2] == (
        f"python tools/make_depth.py {CITYSCAPES}/leftImg8bit/train --out "
        f"{CITYSCAPES}/depth_any/train --layout cityscapes --model small"
    )
    outcome = run(project, RUN_SEG)
    assert outcome.status == 0, outcome
    return outcome.text


def test_following_the_messages_makes_every_map_in_the_place_where_it_is_read(
    project: Path, said: str
) -> None:
    """8-bit gray from 0 to 255, of the image's size, with a record beside it."""
    maps = {GTA / f"depth_any/0000{n}.png": GTA / f"images/0000{n}.png" for n in (1, 2, 3)}
    for city in ("aachen", "bremen"):
        name = f"train/{city}/{city}_000000_000019"
        image = CITYSCAPES / f"leftImg8bit/{name}_leftImg8bit.png"
        maps[CITYSCAPES / f"depth_any/{name}_depth.png"] = image
        assert (project / image).is_file()
    made = {p.relative_to(project) for p in project.glob("data/demo/*/depth_any/**/*.png")}
    assert made == set(maps)
    for file in made:
        stored = read_unchanged(project / file)
        size = (180, 320) if file.is_relative_to(GTA) else (160, 320)
        assert (stored.dtype, stored.shape) == (np.uint8, size)
        assert (stored.min(), stored.max()) == (0, 255)
    for folder in (GTA / "depth_any", CITYSCAPES / "depth_any/train"):
        record = find_record(project / folder)
        assert record is not None
        assert record.details["model"] == "pretrained/tiny0"


def is_window(crop: np.ndarray, whole: np.ndarray) -> bool:
    """Tell whether a crop is cut out of a picture; a few of its pixels are searched first."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)
    fits = (windows[..., ::16, ::16] == crop[::16, ::16]).all((-2, -1))
    return any(np.array_equal(windows[y, x], crop) for y, x in np.argwhere(fits))


def test_crops_and_statistics_come_from_these_maps(project: Path, said: str) -> None:
    """Every crop is a window of a decoded map, or mirrored; the settings name the recipe.

    The pipeline resizes nothing: the images have its size.
    """
    assert "made differently" not in said
    settings = json.loads((project / "crops/preprocessing.json").read_text())
    folder = project / GTA / "depth_any"
    assert settings["depth_recipe"] == recipe_hash(find_record(folder))
    bank = torch.load(project / f"crops/gta_{NUM}_distribution.pth", weights_only=True)
    labels = [read_label(project / f"crops/labels/{n}.png") for n in range(NUM)]
    assert bank.sum((1, 2)).tolist() == [int((label != 255).sum()) for label in labels]
    bins = [depth_to_bins(read_unchanged(path)) for path in sorted(folder.glob("*.png"))]
    for number in range(NUM):
        crop = read_unchanged(project / f"crops/depth/{number}.png")
        assert len(np.unique(crop)) > 10
        assert any(is_window(crop, whole) or is_window(crop[:, ::-1], whole) for whole in bins)


def test_training_runs_on_these_maps_and_its_log_says_when_one_domain_is_made_anew(
    project: Path, said: str
) -> None:
    """Once with maps of one recipe; then the target's are made with another network."""
    outcome = run(project, TRAIN)
    assert outcome.status == 0, outcome
    assert "made differently" not in outcome.text
    command = (
        f"python tools/make_depth.py {CITYSCAPES}/leftImg8bit/train --layout cityscapes --out "
    )
    command += f"{CITYSCAPES}/depth_any/train --model small --overwrite"
    make(project, command, seed=1)
    outcome = run(project, f"{TRAIN} --overwrite")
    assert outcome.status == 0, outcome
    assert "made differently: weights_sha256: " in outcome.text
    assert "of other depth maps" not in outcome.text
