"""The pipelines of the shipped data configs, as functions of what they differ in.

Lists in configs replace each other, so a config cannot inherit a pipeline and change a size in it.
Since a config is a Python file, it calls these functions instead, or lists its own steps.
Config files are read before anything heavy is imported, so this module imports nothing.
"""

from typing import Any

Size = tuple[int, int]
Steps = list[dict[str, Any]]


def training_steps(
    img_scale: Size,
    crop_size: Size,
    img_norm_cfg: dict[str, Any],
    labeled: bool = True,
    distorts_colors: bool = False,
    **crop: Any,
) -> Steps:
    """Return the steps from the files of an image to a training sample.

    Args:
        img_scale: (width, height) that the image is resized to fit into.
        crop_size: (rows, columns) of the sample.
        img_norm_cfg: options of `Normalize`.
        labeled: whether the sample has a label. A target needs none, and of a pipeline with labels,
            a `UDADataset` leaves out for its target what reads them.
        distorts_colors: whether brightness, contrast, saturation and hue are changed at random.
        crop: further options of `RandomCrop`.
    """
    return [
        {"type": "LoadImageFromFile"},
        *([{"type": "LoadAnnotations"}] if labeled else []),
        {"type": "Resize", "img_scale": img_scale},
        {"type": "RandomCrop", "crop_size": crop_size, **crop},
        {"type": "RandomFlip", "prob": 0.5},
        *([{"type": "PhotoMetricDistortion"}] if distorts_colors else []),
        {"type": "Normalize", **img_norm_cfg},
        {"type": "Pad", "size": crop_size, "pad_val": 0, "seg_pad_val": 255},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"] if labeled else ["img"]},
    ]


def short_side_steps(
    short_side: int, crop_size: Size, img_norm_cfg: dict[str, Any], labeled: bool = True
) -> Steps:
    """Return the steps from the files of an image to a sample of VFM-UDA.

    The shorter side of the image becomes 0.9 to 1.1 times `short_side`, and an image that is then
    smaller than the crop is padded with black before it is cut. The other arguments are those of
    `training_steps`.
    """
    return [
        {"type": "LoadImageFromFile"},
        *([{"type": "LoadAnnotations"}] if labeled else []),
        {"type": "Resize", "short_side": short_side, "ratio_range": (0.9, 1.1)},
        {"type": "Pad", "size": crop_size, "pad_val": 0, "seg_pad_val": 255},
        {"type": "RandomCrop", "crop_size": crop_size},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "Normalize", **img_norm_cfg},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"] if labeled else ["img"]},
    ]


def inference_steps(img_scale: Size, img_norm_cfg: dict[str, Any]) -> Steps:
    """Return the steps from an image file to what a network is tested with.

    Sizes and options are as in `training_steps`.
    """
    transforms = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        {"type": "Normalize", **img_norm_cfg},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    views = {"type": "MultiScaleFlipAug", "img_scale": img_scale, "flip": False}
    return [{"type": "LoadImageFromFile"}, {**views, "transforms": transforms}]
