"""A sheet of examples: each row one image, with its label, predictions and depth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.depth.bins import read_depth
from mmseg.datasets.image_files import read_color, read_label
from mmseg.visualization.mosaic import Cell, mosaic
from mmseg.visualization.palettes import colorize, heat


def contact_sheet(
    dataset: CustomDataset,
    indices: Sequence[int],
    predictions: Mapping[str, str | Path] | None = None,
    depth_dir: str | Path | None = None,
    cell_width: int = 320,
) -> np.ndarray:
    """Return an RGB picture with one row per image at `indices` of a labeled dataset.

    `predictions` are title -> folder of painted ones, as tools/test.py writes them; `depth_dir`,
    a folder of depth maps, adds a column of their bins, near is dark. `cell_width` is in pixels.
    """
    rows, palette = [], dataset.PALETTE
    for index in indices:
        name = dataset.img_infos[index]["filename"]
        image = read_color(dataset.img_dir / name)[..., ::-1]
        label = colorize(dataset.gt_label(index), palette)
        row = [Cell("Image", image, is_smooth=True), Cell("Label", label)]
        for title, folder in (predictions or {}).items():
            file = Path(folder, name).with_suffix(".png")
            file = file if file.is_file() else Path(folder, file.name)
            row.append(Cell(title, colorize(read_label(file), palette)))
        if depth_dir is not None:
            path = Path(depth_dir, dataset.depth_name(name))
            depth = read_depth(path, dataset.img_dir / name, image.shape[:2])
            row.append(Cell("Depth", heat(depth, 0, 255)))
        rows.append(row)
    return mosaic(rows, cell_width=cell_width)
