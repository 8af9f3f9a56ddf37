"""Draw source crops, write them as PNG files and find them again.

Legend: M crops, H×W pixels. Crop i is a pure function of (seed, i), so it does not matter which
worker draws it, or whether a run was interrupted before it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.image_files import encode_png, explained, read_bytes, read_label
from mmseg.datasets.pipelines.photometric import denormalize
from mmseg.system.files import atomic_write, remove_partials

PARTS = ("images", "labels", "depth")
# part -> pixels: image (H, W, 3) BGR, label (H, W) train ids and depth (H, W) bins, all uint8
Crop = dict[str, np.ndarray]


class CropFolder:
    """`images/<i>.png`, `labels/<i>.png` and `depth/<i>.png` below one folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def file(self, part: str, index: int) -> Path:
        """Return the path of one part ('images', 'labels' or 'depth') of a crop."""
        return self.root / part / f"{index}.png"

    def write(self, index: int, crop: Crop) -> None:
        """Write the three files of a crop, labels and depth as plain 8-bit grayscale."""
        encoded = {part: encode_png(pixels) for part, pixels in crop.items()}
        for part, data in encoded.items():
            with atomic_write(self.file(part, index)) as file:
                file.write(data)

    def read(self, part: str, index: int) -> np.ndarray:
        """Read a label or depth file as (H, W) uint8."""
        path = self.file(part, index)
        with explained(advice=redraw(path)):
            return read_label(path)

    def verify_image(self, index: int) -> None:
        """Raise if an image file is damaged; its pixels are not decoded."""
        path = self.file("images", index)
        with explained(advice=redraw(path)):
            read_bytes(path, "an image file")

    def remove_partials(self) -> None:
        """Delete the temporary files of killed runs."""
        for folder in (self.root, *(self.root / part for part in PARTS)):
            remove_partials(folder)

    def missing(self, num: int) -> list[int]:
        """Return the indices below `num` of which a file is absent."""
        present = set(range(num))
        for part in PARTS:
            folder = self.root / part
            names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            present = {index for index in present if f"{index}.png" in names}
        return [index for index in range(num) if index not in present]

    def is_empty(self) -> bool:
        """Tell whether there is no file of any crop."""
        return not any(any((self.root / part).glob("*.png")) for part in PARTS)


def redraw(path: Path) -> str:
    """Say how to redraw a crop."""
    return f"Delete '{path}' and start run_seg.py again: it draws the missing crops."


def write_crop(dataset: Any, folder: CropFolder, seed: int, index: int) -> Crop:
    """Draw crop number `index`, write it and return it."""
    crop = draw_crop(dataset, seed, index)
    folder.write(index, crop)
    return crop


def draw_crop(dataset: Any, seed: int, index: int) -> Crop:
    """Draw crop number `index` from the source side of a `UDADataset`."""
    sample = dataset.source_sample(np.random.default_rng((seed, index)))
    if "depth" not in sample:
        raise ValueError(
            "expected source samples with depth, got none. Set data.train.source.dep_dir."
        )
    depth = np.asarray(sample["depth"]).astype(np.uint8)  # truncated, 0…255
    return {
        "images": denormalize(sample["img"], sample["img_metas"]["img_norm_cfg"]),
        "labels": sample["gt_semantic_seg"].reshape(depth.shape).numpy().astype(np.uint8),
        "depth": depth,
    }
