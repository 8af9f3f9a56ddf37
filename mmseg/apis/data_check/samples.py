"""Eight samples as the network sees them, as one picture."""

from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np

from mmseg.apis.data_check.check import CheckedData
from mmseg.apis.data_check.parts import SOURCE, SUPERVISED, TARGET
from mmseg.apis.data_check.scan import good_indices
from mmseg.datasets import UDADataset
from mmseg.datasets.custom import CustomDataset, Sample
from mmseg.datasets.pipelines.photometric import denormalize
from mmseg.system.errors import ConfigError, is_for_user
from mmseg.visualization.mosaic import Cell, mosaic
from mmseg.visualization.palettes import Colors, colorize, heat

ROWS = 4  # of two samples each
MAX_CELL_WIDTH = 512
DEPTH_BINS = 255
Image = tuple[CustomDataset, int]  # a dataset, and the index of one of its images


def draw_samples(checked: CheckedData) -> np.ndarray | None:
    """Return an RGB picture of four samples of source and target, or eight of the training data.

    A row has two samples: image, label in colors and depth, near is dark, as far as the network
    gets them. Of images with problems, none is drawn; None if there are no others.
    """
    chosen = {role: _chosen(checked, role) for role in (SOURCE, TARGET, SUPERVISED)}
    if chosen[SUPERVISED]:
        rows = _own_rows(chosen[SUPERVISED])
    else:
        size = ((checked.parts and checked.parts.data.train) or {}).get("sync_crop_size")
        rows = _pair_rows(zip(chosen[SOURCE], chosen[TARGET], strict=False), size)
    if not rows:
        return None
    width = max(cell.picture.shape[1] for row in rows for cell in row if cell.picture is not None)
    return mosaic(rows, min(width, MAX_CELL_WIDTH))


def _chosen(checked: CheckedData, role: str) -> list[Image]:
    """Return good images of a role, evenly spread; fewer come again, in other crops."""
    scans = [scan for scan in checked.scans.values() if scan.part.role == role]
    good = [(scan.part.dataset, index) for scan in scans for index in good_indices(scan)]
    count = 2 * ROWS if role == SUPERVISED else ROWS
    if len(good) > count:
        return [good[position * (len(good) - 1) // (count - 1)] for position in range(count)]
    return list(islice(cycle(good), count))


def _pair_rows(pairs: Iterable[tuple[Image, Image]], size: Any) -> list[list[Cell]]:
    """Return rows of a source and a target sample, with the crop of `size` that both share."""
    rows = []
    for number, ((source, first), (target, second)) in enumerate(pairs):
        try:
            dataset = UDADataset(source, target, sync_crop_size=size)
        except ConfigError:  # which is among the findings
            continue
        pair, palette = _drawn(dataset, first * len(target) + second, number), source.PALETTE
        if pair is not None:
            cells = (("Source", ""), ("Target", "target_"))
            rows.append([c for title, key in cells for c in _cells(pair, key, title, palette)])
    return rows


def _own_rows(images: Iterable[Image]) -> list[list[Cell]]:
    """Return rows of two samples of the labeled data alone."""
    samples = [(d.PALETTE, _drawn(d, index, n)) for n, (d, index) in enumerate(images)]
    cells = [list(_cells(sample, "", "Training", palette)) for palette, sample in samples if sample]
    return [sum(cells[start : start + 2], []) for start in range(0, len(cells), 2)]


def _drawn(dataset: Any, index: int, number: int) -> Sample | None:
    """Return a sample; None if its pipeline refuses it, as training would."""
    try:
        return dataset.sample(index, np.random.default_rng((0, number)))
    except (OSError, ValueError) as error:
        if not is_for_user(error):
            raise
        return None


def _cells(sample: Sample, prefix: str, title: str, palette: Colors | None) -> Iterator[Cell]:
    """Yield image, label and depth of a sample, as far as it has them, by its keys' `prefix`."""
    norm = sample[f"{prefix}img_metas"].get("img_norm_cfg")
    image = denormalize(sample[f"{prefix}img"], norm)[..., ::-1]
    yield Cell(f"{title} image", np.ascontiguousarray(image), is_smooth=True)
    label = None if prefix else sample.get("gt_semantic_seg")
    if label is not None:
        yield Cell(f"{title} label", colorize(label.squeeze(0).numpy(), palette))
    depth = sample.get(f"{prefix}depth")
    if depth is not None:
        yield Cell(f"{title} depth", heat(depth.squeeze().numpy(), 0, DEPTH_BINS))
