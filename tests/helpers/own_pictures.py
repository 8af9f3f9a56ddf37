"""Pictures of people's own: images with labels of blocks, and depth."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH, BLOCK = 64, 96, 4


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(array.dtype if array.dtype == np.uint16 else np.uint8)).save(path)


def draw_pictures(
    root: Path, layout: str, count: int, values: Any, colors: Any = None, start: int = 0
) -> None:
    """Write images, labels of blocks, and depth; `layout` has the word KIND."""
    rng = np.random.default_rng(start)
    shape = (HEIGHT // BLOCK, WIDTH // BLOCK)
    for number in range(start, start + count):
        blocks = rng.permutation(np.resize(values, shape[0] * shape[1])).reshape(shape)
        label = np.kron(blocks, np.ones((BLOCK, BLOCK), int))
        image = rng.integers(0, 99, (HEIGHT, WIDTH, 3)) + label[..., None] % 2 * 99
        stored = label if colors is None else np.array(colors)[label]
        for kind, array, suffix in (
            ("images", image, ".jpg"),
            ("labels", stored, ".png"),
            ("depth", np.sort(rng.integers(0, 256, (HEIGHT, WIDTH)), 0), ".png"),
        ):
            save(root / f"{layout.replace('KIND', kind)}/{number}{suffix}", array)
