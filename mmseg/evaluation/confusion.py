"""Count which class was predicted where which class is right.

Legend: C classes, H×W pixels; a row of the matrix is a label, a column a prediction.
"""

from typing import Any

import numpy as np
import torch

from mmseg.system import processes


class ConfusionMatrix:
    """Pixel counts by (label, prediction), summed over images and processes.

    >>> matrix = ConfusionMatrix(num_classes=2, ignore_index=255)
    >>> matrix.update(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]))
    >>> matrix.counts.tolist()
    [[1, 1], [0, 0]]
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        # The last row and column hold labels and predictions outside 0…C-1.
        self._all = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        self.images = 0

    @property
    def counts(self) -> np.ndarray:
        """Pixels by (label, prediction), (C, C) int64, of pairs that are both classes."""
        return self._all[:-1, :-1]

    @property
    def intersection(self) -> np.ndarray:
        """Pixels whose label and prediction agree, (C,) int64."""
        return np.diagonal(self._all)[:-1].copy()

    @property
    def label_pixels(self) -> np.ndarray:
        """Labeled pixels of each class, (C,) int64."""
        return self._all.sum(1)[:-1]

    @property
    def predicted_pixels(self) -> np.ndarray:
        """Pixels predicted as each class where the label is not ignored, (C,) int64."""
        return self._all.sum(0)[:-1]

    def update(self, prediction: Any, label: Any) -> None:
        """Count an image (or several): two integer arrays or tensors.

        `ValueError` if their shapes differ.
        """
        prediction, label = (
            v.cpu().numpy() if isinstance(v, torch.Tensor) else np.asarray(v)
            for v in (prediction, label)
        )
        if prediction.shape != label.shape:
            raise ValueError(
                f"expected prediction and label of one size, got {prediction.shape} and "
                f"{label.shape}; evaluate at the label's original size."
            )
        is_valid = label != self.ignore_index
        rows, columns = self._bin(label[is_valid]), self._bin(prediction[is_valid])
        size = self.num_classes + 1
        self._all += np.bincount(rows * size + columns, minlength=size**2).reshape(size, size)
        self.images += 1

    def add(self, other: "ConfusionMatrix") -> None:
        """Add the counts of other images."""
        self._all += other._all
        self.images += other.images

    def reduce(self) -> None:
        """Add up the counts of all processes; call it once, after the last image."""
        flat = np.append(self._all.reshape(-1), self.images)
        total = processes.all_reduce_sum(torch.from_numpy(flat)).numpy()
        self._all = total[:-1].reshape(self._all.shape).copy()
        self.images = int(total[-1])

    def _bin(self, values: np.ndarray) -> np.ndarray:
        """Return the row or column of each value; the last one is for all that is no class."""
        values = values.astype(np.int64)
        is_class = (values >= 0) & (values < self.num_classes)
        return np.where(is_class, values, self.num_classes)
