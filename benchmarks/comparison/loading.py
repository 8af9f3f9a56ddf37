"""Samples of a `UDADataset` with rare class sampling, and the crops of run_seg.py.

The naive formulation reads with OpenCV and Pillow, and reads a source image again for every crop.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from comparison.sizes import Amount
from mmseg.config import load_config
from mmseg.datasets import build_dataset

SCENES = 4  # of each domain
SIZES = {"gta": (1914, 1052), "cityscapes": (2048, 1024)}
TINY = (320, 180)
TABLE = np.floor(255 * np.exp(-6 * np.arange(256) / 256)).astype(np.float32)
Call = Callable[[], dict[str, float]]


def draw_scenes(root: Path, folder: Path, is_tiny: bool) -> None:
    """Draw raw data sets of the real sizes with the program below `root`, and convert GTA's."""
    from demo.datasets import demo_jobs, draw

    for name, size in SIZES.items():
        for job in demo_jobs(folder, SCENES, SCENES, TINY if is_tiny else size):
            if job.domain.name == name:
                draw(job, seed=0)
    convert = [sys.executable, str(root / "tools/convert_datasets/gta.py"), str(folder / "gta")]
    subprocess.run([*convert, "--nproc", "1"], check=True, stdout=subprocess.DEVNULL)


def _config(name: str, amount: Amount) -> Any:
    """Return a config whose data are the drawn scenes."""
    cfg = load_config(f"configs/{name}")
    train = cfg.data.train
    for part in (train.source, train.target):
        for key in ("data_root", "dep_dir"):
            part[key] = part[key].replace("data/", f"{amount.data}/", 1)
    train.source["img_suffix"] = ".png"
    if amount.tiny:
        train.rare_class_sampling["min_pixels"] = 10
    cfg.uda["matrix_path"] = None
    return cfg


def make(config: str, amount: Amount, is_naive: bool) -> Call:
    """Return a call that loads samples; each call the same ones."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    dataset = build_dataset(_config(config, amount).data.train)
    load = (lambda rng: list(_naive_pair(dataset, rng))) if is_naive else None

    def call() -> dict[str, float]:
        start = time.process_time()
        for number in range(amount.samples):
            rng = np.random.default_rng((0, number))
            load(rng) if load else dataset.sample(0, rng)
        return {"": (time.process_time() - start) / amount.samples}

    call()
    return call


def make_crops(amount: Amount, is_naive: bool) -> Call | None:
    """Return a call that writes source crops and counts them, in this process."""
    if is_naive:
        return None
    from mmseg.preprocessing.choices import Options
    from mmseg.preprocessing.preprocess import preprocess

    cfg = _config("cdda/gta2cs_cdda_daformer", amount)

    def call() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            options = Options(dataset_name="gta", folder=Path(folder), num=amount.samples)
            start = time.process_time()
            preprocess(cfg, options, say=lambda line: None)
            return {"": (time.process_time() - start) / amount.samples}

    call()
    return call


def _naive_pair(dataset: Any, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
    """Load a source sample, again until its crop holds the drawn class, and a target sample."""
    sampling = dataset.rare_class_sampling
    chosen = sampling.draw_class(rng)
    index = sampling.draw_image(chosen, rng)
    for _ in range(sampling.tries):
        sample = _naive_sample(dataset.source, index, rng)
        if sampling.accepts(sample[1], chosen):
            break
    yield sample
    yield _naive_sample(dataset.target, int(rng.integers(len(dataset.target))), rng)


def _naive_sample(dataset: Any, index: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Return image, label (of a source) and depth of a crop."""
    steps = {type(step).__name__: step for step in dataset.pipeline.steps}
    name = dataset.img_infos[index]["filename"]
    image = cv2.imread(str(dataset.img_dir / name))
    size = steps["Resize"].new_size((image.shape[1], image.shape[0]), steps["Resize"].scales[0])
    image = cv2.resize(image, size)
    depth = cv2.imread(str(dataset.dep_dir / dataset.depth_name(name)), cv2.IMREAD_UNCHANGED)
    maps = [cv2.resize(TABLE[depth], size)]
    if "LoadAnnotations" in steps:
        path = dataset.ann_dir / dataset.img_infos[index]["ann"]["seg_map"]
        label = np.array(Image.open(path))
        maps.insert(0, cv2.resize(label, size, interpolation=cv2.INTER_NEAREST).astype(np.int64))
    height, width = steps["RandomCrop"].crop_size
    y, x = (
        int(rng.integers(max(side - length, 0) + 1))
        for side, length in ((size[1], height), (size[0], width))
    )
    parts = [part[y : y + height, x : x + width] for part in (image, *maps)]
    if rng.random() < 0.5:
        parts = [np.flip(part, 1) for part in parts]
    pixels = parts[0][..., ::-1].astype(np.float32)
    parts[0] = ((pixels - steps["Normalize"].mean) / steps["Normalize"].std).transpose(2, 0, 1)
    return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
