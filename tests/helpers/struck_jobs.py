"""The commands that are struck, the moments at which they are, and what they read.

Every command runs in a folder of its own and writes below it only, with the same relative names;
so the folders of two complete runs hold the same files with the same bits (see `struck_files`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gen_scene
import numpy as np
import small_runs
import tiny_run

from mmseg.datasets.cityscapes import ID_NAMES
from mmseg.datasets.image_files import write_label

ROOT = Path(__file__).resolve().parents[2]
CROPS, LABELS, WIDTH, HEIGHT = 18, 15, 61, 37
MAX_WAIT = 20  # seconds
LENGTH = {"runner": {"max_iters": 6}, "log_config": {"interval": 4}, "evaluation": {"interval": 3}}
SAVES = {"interval": 2, "resume_interval": 1, "max_keep_ckpts": 2}
RAW = "raw"  # folder of the material of which every conversion gets a copy
IMAGE = "mmseg.engine.evaluator:predict"
CHUNK = "mmseg.system.files:_Stream.write"  # to a temporary file
WHOLE_FILE = "mmseg.system.files:_Stream.sync"  # which has no name yet
BANK = "torch:save"
HISTOGRAM = "mmseg.preprocessing.count_bank:_histogram"
STATISTICS = "json:dump"

# A function, and how often it is called at most before the command is struck.
Point = tuple[str, int]


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        words: script below the repository, and arguments; `{root}` stands for the material.
        phases: what the command is doing when it is struck there -> where that is.
        ranks: processes that run together.
        copied: folder of the material that it gets a copy of, because it writes into it.
    """

    words: str
    phases: Mapping[str, Point]
    ranks: int = 1
    copied: str | None = None

    @property
    def trains(self) -> bool:
        """Whether it writes checkpoints."""
        return "tools/train.py" in self.words

    def command(self, root: Path) -> list[str]:
        """Return script and arguments."""
        script, *arguments = self.words.format(root=root).split()
        return [str(ROOT / script), *arguments]


TRAINING = {
    "evaluation": (IMAGE, 4),
    "part of a file": (CHUNK, 600),
    "a file without its name": (WHOLE_FILE, 14),
}
JOBS = MappingProxyType(
    {
        "train": Job("tools/train.py {root}/cdda.py --work-dir run --resume auto", TRAINING),
        # Whose workers come from a server that imports torch for seconds.
        "two processes": Job(
            "tools/train.py {root}/pair.py --work-dir run --resume auto", TRAINING, ranks=2
        ),
        "two processes without workers": Job(
            "tools/train.py {root}/pair.py --work-dir run --resume auto "
            "--cfg-options data.workers_per_gpu=0",
            TRAINING,
            ranks=2,
        ),
        "run_seg": Job(
            "run_seg.py --config {root}/crops.py --num-workers 2",
            {
                "crops": (CHUNK, 3 * CROPS),
                "counting": (HISTOGRAM, CROPS),
                "the bank": (BANK, 1),
            },
        ),
        "gta": Job(
            f"tools/convert_datasets/gta.py {RAW}/gta --nproc 3",
            {"labels": (CHUNK, LABELS), "statistics": (STATISTICS, 3)},
            copied=RAW,
        ),
        "cityscapes": Job(
            f"tools/convert_datasets/cityscapes.py {RAW}/cityscapes --nproc 2",
            {"labels": (CHUNK, LABELS), "statistics": (STATISTICS, 3)},
            copied=RAW,
        ),
    }
)


def write_material(root: Path) -> None:
    """Write what all of `JOBS` read."""
    small_runs.write_material(root)
    _write_source_depth(root)
    values = _config(root, workers=1)
    tiny_run.write_config(root / "cdda.py", values)
    values["data"]["samples_per_gpu"] = 1
    tiny_run.write_config(root / "pair.py", values)
    crops = _config(root, workers=0)
    crops["data"]["train"]["source"]["dep_dir"] = str(root / "source/depth")
    crops["uda"] |= {
        "matrix_path": f"crops/gta_{CROPS}_distribution.pth",
        "croped_images_path": "crops/images",
        "croped_labels_path": "crops/labels",
    }
    tiny_run.write_config(root / "crops.py", crops)
    _write_raw_labels(root / RAW)


def _config(root: Path, workers: int) -> dict[str, Any]:
    changes = {**LENGTH, "checkpoint_config": SAVES, "data": {"workers_per_gpu": workers}}
    values = small_runs.config(root, "cdda", max_wait=MAX_WAIT, **changes)
    model, backbone = values["model"], small_runs.SMALL_BACKBONE
    model |= {"backbone": backbone, "pretrained": str(root / "small.pth")}
    model["decode_head"]["in_channels"] = backbone["embed_dims"]
    return values


def _write_source_depth(root: Path) -> None:
    images = sorted((root / "source/images").glob("*.png"))
    scenes = gen_scene.scenes(74, len(images), tiny_run.HEIGHT, tiny_run.WIDTH)
    for image, (_, stored) in zip(images, scenes, strict=True):
        write_label(root / "source/depth" / image.name, stored.astype(np.uint8))


def _write_raw_labels(folder: Path) -> None:
    """Write labels of GTA, and polygons of two towns and two splits."""
    draw = np.random.default_rng(75)
    for number in range(LABELS):
        ids = draw.integers(0, len(ID_NAMES), (HEIGHT, WIDTH)).astype(np.uint8)
        write_label(folder / f"gta/labels/{number:05d}.png", ids)
        town = ("train/ulm", "train/bonn", "val/lindau")[number % 3]
        corners = draw.integers(0, HEIGHT, (4, 3, 2)).tolist()
        names = draw.choice(ID_NAMES, 3).tolist()
        objects = [
            {"label": n, "polygon": c} for n, c in zip(["road", *names], corners, strict=True)
        ]
        name = f"gtFine/{town}/{Path(town).name}_{number:06d}_000019_gtFine_polygons.json"
        file = folder / "cityscapes" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"imgWidth": WIDTH, "imgHeight": HEIGHT, "objects": objects}))
