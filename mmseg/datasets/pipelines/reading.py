"""Files -> fields of a sample."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmseg.config.registry import PIPELINES
from mmseg.datasets.depth.bins import read_depth
from mmseg.datasets.image_files import read_color, read_label
from mmseg.datasets.labels import IGNORE
from mmseg.datasets.pipelines.fields import Results
from mmseg.datasets.pipelines.resizing import with_short_side

# How much a side of a label may differ from that of its image, as a share. A few labels of GTA lack
# some rows; these count as ignored.
TOLERATED_SHARE = 0.01


def start_results(
    image: np.ndarray, filename: str | None = None, ori_filename: str | None = None
) -> Results:
    """Return what the steps after loading need to know about an image (H, W, 3) BGR.

    `ori_filename` is `filename` relative to the folder of images; None: the image is from no file.
    """
    zeros = np.zeros(3, np.float32)
    return {
        "filename": filename,
        "ori_filename": filename if ori_filename is None else ori_filename,
        "img": image,
        **dict.fromkeys(("img_shape", "ori_shape", "pad_shape"), image.shape),
        "scale_factor": 1.0,
        "img_norm_cfg": {"mean": zeros, "std": zeros + 1, "to_rgb": False},
        "img_fields": ["img"],
        "seg_fields": [],
    }


@PIPELINES.register(inert=("color_type", "file_client_args", "imdecode_backend"))
class LoadImageFromFile:
    """Read `img` (H, W, 3) BGR and the fields that are cropped with it from the start.

    If `results` names a `depth_file`, that is `depth` (H, W) float32 bins; if it holds
    `crop_pseudo_margins` (top, bottom, left, right), `valid_pseudo_mask` (H, W), 0 on the margins
    and 1 elsewhere. With a `short_side`, the image is resized to it at once, as if its file held
    it so.
    """

    is_random = False

    def __init__(self, to_float32: bool = False) -> None:
        self.to_float32 = to_float32

    def __call__(self, results: Results) -> Results:
        """Return the sample with its image, depth and margins."""
        name = results["img_info"]["filename"]
        path = str(Path(results.get("img_prefix") or "", name))
        image = read_color(path)
        if (side := results.get("short_side")) is not None:
            image = with_short_side(image, side)
        image = image.astype(np.float32) if self.to_float32 else image
        loaded = {**results, **start_results(image, path, name)}
        if results.get("depth_file") is not None:
            size, command = image.shape[:2], results.get("depth_command")
            loaded["depth"] = read_depth(results["depth_file"], path, size, command)
        if (margins := results.get("crop_pseudo_margins")) is not None:
            loaded["valid_pseudo_mask"] = _valid_mask(image.shape[:2], margins, path)
            loaded["seg_fields"] = ["valid_pseudo_mask"]
        return loaded


@PIPELINES.register(inert=("file_client_args", "imdecode_backend"))
class LoadAnnotations:
    """Read `gt_semantic_seg` (H, W) uint8 train ids.

    In `results`, `read_label` makes them of a file, and a `label_rule` checks them.
    """

    is_random = False

    def __init__(self, reduce_zero_label: bool = False) -> None:
        self.reduce_zero_label = reduce_zero_label

    def __call__(self, results: Results) -> Results:
        """Return the sample with its label."""
        path = Path(results.get("seg_prefix") or "", results["ann_info"]["seg_map"])
        rule = results.get("label_rule")
        read = results.get("read_label") or partial(read_label, remedy=rule and rule.remedy)
        label = read(path)
        label = reduce_zero(label) if self.reduce_zero_label else label
        if rule is not None:
            rule.check(label, path)
        if "img" in results:
            label = fit_label(label, results["img"].shape[:2], path, results["filename"])
        fields = [*results.get("seg_fields", []), "gt_semantic_seg"]
        return {**results, "gt_semantic_seg": label, "seg_fields": fields}


def reduce_zero(label: np.ndarray) -> np.ndarray:
    """Ignore class 0 and count the others from 0.

    >>> reduce_zero(np.array([0, 1, 2, 255], np.uint8)).tolist()
    [255, 0, 1, 255]
    """
    return np.where((label == 0) | (label == IGNORE), IGNORE, label - 1).astype(np.uint8)


def _valid_mask(size: tuple[int, int], margins: Sequence[float], path: str) -> np.ndarray:
    """Return the mask of an image of `size` (H, W); margins below 1 are shares of its sides."""
    height, width = size
    sides = (height, height, width, width)
    top, bottom, left, right = (
        int(m * side) if m < 1 else int(m) for m, side in zip(margins, sides, strict=True)
    )
    if top + bottom >= height or left + right >= width:
        raise ValueError(
            f"expected crop_pseudo_margins that leave a part of '{path}' ({width}x{height}), got "
            f"[top, bottom, left, right] = {list(margins)}. Make them smaller."
        )
    mask = np.zeros(size, np.uint8)
    mask[top : height - bottom, left : width - right] = 1
    return mask


def fit_label(
    label: np.ndarray, size: tuple[int, int], path: str | Path, image_path: str | Path
) -> np.ndarray:
    """Return a label of the image's size, cropped or padded with 255 at bottom and right."""
    if label.shape == size:
        return label
    if any(abs(a - b) > TOLERATED_SHARE * b for a, b in zip(label.shape, size, strict=True)):
        raise ValueError(
            f"expected a label of {size[1]}x{size[0]} pixels for the image '{image_path}', got "
            f"{label.shape[1]}x{label.shape[0]} in '{path}'. Check which of the two is wrong."
        )
    fitted, part = np.full(size, IGNORE, np.uint8), label[: size[0], : size[1]]
    fitted[: part.shape[0], : part.shape[1]] = part
    return fitted
