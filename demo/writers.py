"""File names and formats of the three datasets, as their authors publish them."""

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.rendering import Rendering

SYNTHIA_NAMES = (
    ("sky", "building", "road", "sidewalk", "fence", "vegetation", "pole", "car", "traffic sign")
    + ("person", "bicycle", "motorcycle", "", "", "traffic light", "terrain", "rider")
    + ("truck", "bus", "train", "wall", "lane marking")
)
SYNTHIA_IDS = {name: id_ for id_, name in enumerate(SYNTHIA_NAMES, 1) if name}
# Colors of the label ids 0…33 of Cityscapes, which GTA has too.
CITYSCAPES_COLORS = {
    "unlabeled": (0, 0, 0), "ego vehicle": (0, 0, 0), "rectification border": (0, 0, 0),
    "out of roi": (0, 0, 0), "static": (0, 0, 0), "dynamic": (111, 74, 0), "ground": (81, 0, 81),
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "parking": (250, 170, 160),
    "rail track": (230, 150, 140), "building": (70, 70, 70), "wall": (102, 102, 156),
    "fence": (190, 153, 153), "guard rail": (180, 165, 180), "bridge": (150, 100, 100),
    "tunnel": (150, 120, 90), "pole": (153, 153, 153), "polegroup": (153, 153, 153),
    "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100),
    "caravan": (0, 0, 90), "trailer": (0, 0, 110), "train": (0, 80, 100),
    "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}  # fmt: skip
CITYSCAPES_IDS = {name: id_ for id_, name in enumerate(CITYSCAPES_COLORS)}
LICENSE_PLATE = (0, 0, 142)  # id -1; its color comes last in the files of GTA
PALETTE = [*CITYSCAPES_COLORS.values(), LICENSE_PLATE]

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
    return view.look_up(lambda shape: CITYSCAPES_IDS[shape.face.label]).astype(np.uint8)


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
