"""File names and formats of the three datasets, as their authors publish them."""

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import labels, name2label
from numpy.typing import NDArray
from PIL import Image

from demo.rendering import Rendering

SYNTHIA_NAMES = (
    ("sky", "building", "road", "sidewalk", "fence", "vegetation", "pole", "car", "traffic sign")
    + ("person", "bicycle", "motorcycle", "", "", "traffic light", "terrain", "rider")
    + ("truck", "bus", "train", "wall", "lane marking")
)
SYNTHIA_IDS = {name: id_ for id_, name in enumerate(SYNTHIA_NAMES, 1) if name}
# Of the ids 0…33, then of the license plate (id -1), as the files of GTA have them.
PALETTE = [label.color for label in labels]

CITIES = {
    "train": ("aachen", "bremen", "hamburg", "jena", "ulm"),
    "val": ("frankfurt", "lindau", "munster"),
    "test": ("berlin", "bonn"),
}


def write_gta(root: Path, number: int, view: Rendering) -> None:
    """Write images/, labels/ (palette PNG of Cityscapes ids), depth_any/; from 00001."""
    name = f"{number + 1:05d}.png"
    label = Image.fromarray(cityscapes_ids(view))
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(PALETTE)] = PALETTE
    label.putpalette(colors.reshape(-1).tolist())
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
    write_file(root / "gtFine" / f"{stem}_gtFine_polygons.json", json.dumps(annotation).encode())
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
    write_file(path, data)


def write_file(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there: under a name of this process first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)
