"""The pre-cropped source images on disk that replace a drawn source crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmseg.datasets.image_files import read_color

_REMEDY = "do make the crops with: python run_seg.py --config … --dataset_name …"


class CropStore:
    """Crops `images/<i>.png` with labels `labels/<i>.png`, written by `run_seg.py`."""

    def __init__(self, images_path: str | Path, labels_path: str | Path) -> None:
        self.images_path = Path(images_path)
        self.labels_path = Path(labels_path)

    def image_file(self, index: int) -> Path:
        """Return the path of image `index`."""
        return self.images_path / f"{index}.png"

    def label_file(self, index: int) -> Path:
        """Return the path of label `index`."""
        return self.labels_path / f"{index}.png"

    def verify(self, count: int) -> None:
        """Raise unless both folders hold the crops 0 … count - 1."""
        for folder in (self.images_path, self.labels_path):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"expected source crops in '{folder}', got no such folder; {_REMEDY}"
                )
            present = {file.name for file in folder.iterdir()}
            missing = [i for i in range(count) if f"{i}.png" not in present]
            if missing:
                raise FileNotFoundError(
                    f"expected {count} source crops in '{folder}', got none for {len(missing)} of "
                    f"them, the first '{missing[0]}.png'; {_REMEDY}"
                )

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return crop `index`: image (H, W, 3) uint8 BGR and label (H, W) uint8 train ids."""
        image = read_color(self.image_file(index))
        # Crops made by the original program are color images: the label is in every channel.
        label = read_color(self.label_file(index))[..., 0]
        if image.shape[:2] != label.shape:
            raise ValueError(
                f"expected a label of the size of '{self.image_file(index)}' "
                f"{image.shape[:2]}, got {label.shape} in '{self.label_file(index)}'; {_REMEDY}"
            )
        return image, label
