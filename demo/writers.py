"""File names and formats of the three datasets, as their authors publish them."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import name2label
from numpy.typing import NDArray
from PIL import Image

from mmseg.datasets.labels import (
    CITYSCAPES_ID_PALETTE,
    CLASSES,
    SYNTHIA_ID_TO_TRAIN_ID,
    flat_palette,
)
from mmseg.system.files import atomic_write

from .rendering import Rendering

SYNTHIA_IDS = {CLASSES[train_id]: id_ for id_, train_id in SYNTHIA_ID_TO_TRAIN_ID.items()}
SYNTHIA_IDS["lane marking"] = 22  # SYNTHIA's own class: the converter ignores it

CITIES = {
    "train": ("aachen", "bremen", "hamburg", "jena", "ulm"),
    "val": ("frankfurt", "lindau", "munster"),
    "test": ("berlin", "bonn"),
}


def write_gta(root: Path, number: int, view: Rendering) -> None:
    """Write images/, labels/ (palette PNG of Cityscapes ids), depth_any/; from 00001."""
    name = f"{number + 1:05d}.png"
    label = Image.fromarray(cityscapes_ids(view))
    label.putpalette(flat_palette(CITYSCAPES_ID_PALETTE))
    write_png(root / "images" / name, view.image)
    write_png(root / "labels" / name, label)
    write_png(root / "depth_any" / name, view.depth)


def write_synthia(root: Path, number: int, view: Rendering) -> None:
    """Write RGB/, GT/LABELS/ (16 bit: red class, green instance), depth_any/; from 0000000."""
    name = f"{number:07d}.png"
    label = np.zeros((*view.index.shape, 3), np.uint16)  # OpenCV's order: blue, green, red
    label[..., 2] = view.look_up(lambda shape: SYNTHIA_IDS.get(shape.face.label or "", 0))
    label[..., 1] = view.look_up(lambda shape: shape.instance)
    write_png(root / "RGB" / name, view.image)
    write_png(root / "GT" / "LABELS" / name, label)
    write_png(root / "depth_any" / name, view.depth)


def write_cityscapes(split: str, root: Path, number: int, view: Rendering) -> None:
    """Write leftImg8bit/, depth_any/ and, except for the test split, gtFine/ with its polygons."""
    cities = CITIES[split]
    city = cities[number % len(cities)]
    stem = f"{split}/{city}/{city}_{number // len(cities):06d}_000019"
    write_png(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", view.image)
    write_png(root / "depth_any" / f"{stem}_depth.png", view.depth)
    if split == "test":
        return
    objects = [{"label": shape.face.label, "polygon": shape.corners} for shape in view.shapes]
    height, width = view.index.shape
    annotation = {"imgHeight": height, "imgWidth": width, "objects": objects}
    with atomic_write(root / "gtFine" / f"{stem}_gtFine_polygons.json", "w") as file:
        file.write(json.dumps(annotation))
    write_png(root / "gtFine" / f"{stem}_gtFine_labelIds.png", cityscapes_ids(view))


def cityscapes_ids(view: Rendering) -> NDArray[np.uint8]:
    """Return the label map (H, W) in Cityscapes' ids, 0...33."""
    return view.look_up(lambda shape: name2label[shape.face.label].id).astype(np.uint8)


def write_png(path: Path, image: NDArray | Image.Image) -> None:
    """Write a palette picture, or an array: 8-bit gray, 8-bit RGB or 16-bit in OpenCV's order."""
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        data = buffer.getvalue()
    else:
        is_rgb = image.ndim == 3 and image.dtype == np.uint8
        data = cv2.imencode(".png", image[..., ::-1] if is_rgb else image)[1].tobytes()
    with atomic_write(path) as file:
        file.write(data)
