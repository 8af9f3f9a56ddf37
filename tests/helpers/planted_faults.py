"""Drawn data on which `tools/check_data.py` finds nothing, and every fault, to be planted there.

root = planted_faults.write_project(tmp_path)   # data, config, crops and bank
monkeypatch.chdir(copy)                         # of it
kind, plant, where, named = planted_faults.FAULTS[0]
plant()                                         # spoils the files of the current directory
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from demo_project import ROOT, copy_folder, run

from demo.datasets import demo_jobs, draw, write_depth_records
from mmseg.config.registry import DATASETS
from mmseg.datasets.image_files import read_label, write_label
from mmseg.datasets.labels import CLASSES, PALETTE
from mmseg.preprocessing.label_conversion import convert_cityscapes, convert_gta, write_statistics
from mmseg.visualization.palettes import colorize, save_picture

WIDTH, HEIGHT = 96, 64
BANK = "made/gta_3_distribution.pth"
CONFIG = f"""
_base_ = ["demo/cdda_daformer.py"]
uda = dict(
    matrix_path="{BANK}", croped_images_path="made/images", croped_labels_path="made/labels"
)
data = dict(workers_per_gpu=0, train=dict(rare_class_sampling=dict(min_pixels=10)))
"""
COLORS = f"""
data.update(val=dict(
    type="FolderDataset", _delete_=True, data_root="data/demo/cityscapes", labels="colors",
    img_dir="leftImg8bit/val", ann_dir="gtFine/val", img_suffix="_leftImg8bit.png",
    seg_map_suffix="_gtFine_labelTrainIds.png", pipeline=[dict(type="LoadImageFromFile")],
    classes={[{"name": n, "color": c} for n, c in zip(CLASSES, PALETTE, strict=True)]},
))
"""
GTA, CITYSCAPES = "data/demo/gta", "data/demo/cityscapes"
IMAGE, LABEL = f"{GTA}/images/00002.png", f"{GTA}/labels/00002_labelTrainIds.png"
DEPTH = f"{GTA}/depth_any/00002.png"
VAL = f"{CITYSCAPES}/leftImg8bit/val/frankfurt/frankfurt_000000_000019_leftImg8bit.png"
SOURCE, TARGET, RARE = "data.train.source", "data.train.target", "data.train.rare_class_sampling"
Change = Callable[[np.ndarray], np.ndarray]
Fault = tuple[str, Callable[[], object], str, str]


class OwnDataset:
    """Reads what nobody knows; whoever plants it restores the registry."""

    def __init__(self, pipeline: Any = (), test_mode: bool = False) -> None: ...


def write_project(root: Path) -> Path:
    """Write drawn data with every class in every label, their statistics, depth, crops and bank."""
    for name in ("tools", "run_seg.py"):
        (root / name).symlink_to(ROOT / name)
    copy_folder(ROOT / "configs", root / "configs", "generated")
    (root / "configs/mine.py").write_text(CONFIG)
    for job in demo_jobs(root / "data/demo", 4, 4, (WIDTH, HEIGHT)):
        if job.domain.name != "synthia" and job.index < 200_000:
            draw(job, seed=0)
    write_depth_records(root / "data/demo")
    counts = (
        convert_gta(root / GTA, processes=1),
        convert_cityscapes(root / CITYSCAPES, processes=1),
    )
    for path in (root / "data").rglob("*_labelTrainIds.png"):
        label = read_label(path)
        label[:5, : 5 * 19] = np.arange(19).repeat(5)
        write_label(path, label)
    for entries in counts:
        for entry in entries:
            pixels = np.bincount(read_label(entry["file"]).ravel(), minlength=19)[:19]
            entry.update({str(c): int(n) for c, n in enumerate(pixels) if n})
    write_statistics(counts[0], root / GTA)
    made = "--source_preprocessed_path made --num 3 --num-workers 0"
    assert run(root, f"python run_seg.py --config configs/mine {made}").status == 0
    return root


def change(file: str, how: Change) -> None:
    """Change the values of a label, image or depth map."""
    path = Path(file)
    assert path.is_file()
    assert cv2.imwrite(file, how(cv2.imread(file, cv2.IMREAD_UNCHANGED)))


def all_of(pattern: str, how: Change) -> None:
    for path in sorted(Path("data/demo").glob(pattern)):
        change(str(path), how)


def put(value: int) -> Change:
    def how(label: np.ndarray) -> np.ndarray:
        label[7, 3] = value
        return label

    return how


def flip(file: str) -> None:
    content = bytearray(Path(file).read_bytes())
    content[len(content) // 2] ^= 16
    Path(file).write_bytes(content)


def as_jpeg(file: str) -> None:
    ok, data = cv2.imencode(".jpg", read_label(file))
    assert ok
    Path(file).write_bytes(data.tobytes())


def shrink() -> None:
    for file in (IMAGE, LABEL, DEPTH):
        change(file, lambda pixels: pixels[:60, :90])


def without(value: int) -> Change:
    return lambda label: np.where(label == value, 255, label).astype(np.uint8)


def uncount() -> None:
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        Path(GTA, name).unlink()


def forget_class() -> None:
    uncount()
    all_of("gta/labels/*_labelTrainIds.png", without(16))


def edit(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


def configure(text: str) -> None:
    with Path("configs/mine.py").open("a") as file:
        file.write(text)


def color_labels() -> None:
    configure(COLORS)
    for path in Path(CITYSCAPES, "gtFine/val").rglob("*_labelTrainIds.png"):
        save_picture(path, colorize(read_label(path), PALETTE))
    change(label_of(VAL), put(1))


def label_of(image: str) -> str:
    name = image.replace("leftImg8bit/", "gtFine/")
    return name.replace("_leftImg8bit", "_gtFine_labelTrainIds")


def change_bank(how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.save(how(torch.load(BANK, weights_only=True)), BANK)


def own_dataset() -> None:
    DATASETS.register(OwnDataset)
    configure("data.update(test=dict(type='OwnDataset', _delete_=True))")


def other_settings() -> None:
    path = Path("made/preprocessing.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "depth_recipe": "other"}))


# kind, how it is planted, where it is found, what its files or its sentence name
FAULTS: list[Fault] = [
    ("config", lambda: configure("uda.update(alhpa=0.9)"), "config", "alpha"),
    (
        "classes-differ",
        lambda: configure(f"data.update(val=dict(classes={list(CLASSES[::-1])}))"),
        "config",
        "classes",
    ),
    ("dataset-unusable", lambda: shutil.rmtree(f"{GTA}/images"), SOURCE, "gta/images"),
    (
        "dataset-of-your-own",
        own_dataset,
        "data.test",
        "OwnDataset",
    ),
    ("images-left-out", lambda: shutil.copy(IMAGE, f"{IMAGE[:-3]}bmp"), SOURCE, "00002.bmp"),
    ("images-left-out", lambda: shutil.copy(IMAGE, f"{IMAGE[:-3]}PNG"), SOURCE, "00002.PNG"),
    ("image-unreadable", lambda: flip(IMAGE), SOURCE, IMAGE),
    ("image-unreadable", lambda: flip(VAL), "data.val", VAL),
    ("image-smaller-than-crop", shrink, SOURCE, IMAGE),
    (
        "image-in-train-and-val",
        lambda: shutil.copy(next(Path(CITYSCAPES, "leftImg8bit/train").rglob("*.png")), VAL),
        "data.val",
        VAL,
    ),
    ("image-without-label", lambda: Path(LABEL).unlink(), SOURCE, IMAGE),
    ("image-without-label", lambda: shutil.rmtree(f"{GTA}/labels"), SOURCE, IMAGE),
    ("label-without-image", lambda: Path(IMAGE).unlink(), SOURCE, LABEL),
    ("label-unreadable", lambda: flip(LABEL), SOURCE, LABEL),
    ("label-is-jpeg", lambda: as_jpeg(LABEL), SOURCE, LABEL),
    (
        "label-in-colors",
        lambda: change(LABEL, lambda label: colorize(label, PALETTE)),
        SOURCE,
        LABEL,
    ),
    (
        "label-of-another-kind",
        lambda: change(LABEL, lambda label: label.astype(np.uint16) * 256),
        SOURCE,
        LABEL,
    ),
    ("label-of-another-size", lambda: change(LABEL, lambda label: label[:40]), SOURCE, LABEL),
    ("color-of-no-class", color_labels, "data.val", label_of(VAL)),
    ("id-out-of-range", lambda: change(LABEL, put(26)), SOURCE, LABEL),
    ("id-out-of-range", lambda: change(label_of(VAL), put(19)), "data.val", label_of(VAL)),
    ("label-all-ignored", lambda: change(LABEL, lambda label: label * 0 + 255), SOURCE, LABEL),
    (
        "labels-all-ignored",
        lambda: all_of("gta/labels/*_labelTrainIds.png", lambda label: label * 0 + 255),
        SOURCE,
        LABEL,
    ),
    ("class-never-occurs", forget_class, SOURCE, "no pixel of train."),
    (
        "class-too-small",
        lambda: configure("data['train']['rare_class_sampling']['min_pixels'] = 9999"),
        RARE,
        "bicycle (at most",
    ),
    (
        "statistics-wrong",
        lambda: all_of("gta/labels/*_labelTrainIds.png", put(255)),
        SOURCE,
        f"{GTA}/sample_class_stats.json",
    ),
    ("statistics-of-more-labels", lambda: Path(IMAGE).unlink(), SOURCE, Path(LABEL).name),
    ("depth-missing", lambda: Path(DEPTH).unlink(), SOURCE, IMAGE),
    ("depth-missing", lambda: shutil.rmtree(f"{CITYSCAPES}/depth_any"), TARGET, "aachen"),
    ("depth-unreadable", lambda: flip(DEPTH), SOURCE, DEPTH),
    (
        "depth-in-colors",
        lambda: change(DEPTH, lambda depth: np.stack([depth] * 3, -1)),
        SOURCE,
        DEPTH,
    ),
    (
        "depth-of-another-kind",
        lambda: Path(DEPTH).write_bytes(
            cv2.imencode(".tiff", np.ones((HEIGHT, WIDTH), np.float32))[1].tobytes()
        ),
        SOURCE,
        DEPTH,
    ),
    ("depth-of-another-size", lambda: change(DEPTH, lambda depth: depth[:63]), SOURCE, DEPTH),
    ("depth-constant", lambda: change(DEPTH, lambda depth: depth * 0 + 7), SOURCE, DEPTH),
    ("depth-0-to-1", lambda: change(DEPTH, lambda depth: depth // 128), SOURCE, DEPTH),
    ("depth-16-bit", lambda: change(DEPTH, lambda d: d.astype(np.uint16) * 257), SOURCE, DEPTH),
    ("depth-inverted", lambda: all_of("gta/depth_any/*.png", lambda d: 255 - d), SOURCE, DEPTH),
    (
        "depth-made-differently",
        lambda: edit(f"{GTA}/depth_any/depth.json", "inverse", "metric"),
        "data.train",
        f"{GTA}/depth_any",
    ),
    ("bank-missing", lambda: Path(BANK).unlink(), "uda.matrix_path", BANK),
    ("bank-unreadable", lambda: Path(BANK).write_text("no"), "uda.matrix_path", BANK),
    (
        "bank-of-other-crops",
        lambda: change_bank(lambda bank: bank.flip(0)),
        "uda.matrix_path",
        BANK,
    ),
    (
        "bank-of-other-crops",
        lambda: change_bank(lambda bank: torch.cat([bank, bank])),
        "uda.matrix_path",
        BANK,
    ),
    ("bank-of-other-depth", other_settings, "uda.matrix_path", BANK),
]
