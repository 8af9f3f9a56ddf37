"""Polygon files of Cityscapes -> label images, pixel for pixel as its own scripts draw them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field, TypeAdapter, ValidationError

from mmseg.datasets.image_files import read_bytes
from mmseg.datasets.labels import IGNORE

NOT_DRAWN = "license plate"  # its id is -1
GROUP = "group"  # 'cargroup': cars that nobody could tell apart
# A street image has 2 million. A wrong digit in the size would fill the memory.
MAX_PIXELS = 100_000_000

Side = Annotated[int, Field(gt=0)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]  # they may lie outside of the image


@dataclass(frozen=True)
class Polygon:
    """An object as the files have it."""

    label: str
    polygon: list[tuple[Coordinate, Coordinate]]  # (x, y) of its corners
    deleted: bool = False


@dataclass(frozen=True)
class PolygonFile:
    """What a file says of an image; its other keys are ignored."""

    imgWidth: Side
    imgHeight: Side
    objects: list[Polygon]


JUDGE = TypeAdapter(PolygonFile)


@dataclass(frozen=True)
class PolygonLabels:
    """Polygon files, and the train id of each class by its name there (255: ignored)."""

    train_ids: Mapping[str, int]

    def __call__(self, path: Path) -> np.ndarray:
        """Draw the polygons of a file in their order, each over those before it.

        Returns train ids (H, W) uint8, 255 where there is no class. Raises `ValueError` for a file
        that is broken, too large or names a class that Cityscapes does not have.
        """
        content = _read(path)
        drawn = [polygon for polygon in content.objects if not polygon.deleted]
        self._check_names(drawn, path)
        picture = Image.new("L", (content.imgWidth, content.imgHeight), IGNORE)
        pen = ImageDraw.Draw(picture)
        for polygon in drawn:
            name = self._single(polygon.label)
            if name == NOT_DRAWN:
                continue
            if len(polygon.polygon) < 2:
                raise ValueError(
                    f"expected polygons of two points or more in '{path}', got one of "
                    f"{len(polygon.polygon)} ({polygon.label!r}). Remove it, or copy the file "
                    "again."
                )
            pen.polygon(polygon.polygon, fill=self.train_ids[name])
        return np.array(picture)

    def _check_names(self, polygons: list[Polygon], path: Path) -> None:
        names, known = {polygon.label for polygon in polygons}, {*self.train_ids, NOT_DRAWN}
        if unknown := sorted(name for name in names if self._single(name) not in known):
            raise ValueError(
                f"expected polygons of Cityscapes' classes in '{path}', got unknown ones: "
                f"{', '.join(map(repr, unknown))}. Call them as Cityscapes does, such as 'car', or "
                f"'unlabeled' to ignore them."
            )

    def _single(self, name: str) -> str:
        """Return the class of a group: 'car' of 'cargroup', but 'polegroup' is a class itself."""
        return name if name in self.train_ids else name.removesuffix(GROUP)


def _read(path: Path) -> PolygonFile:
    """Read and check a file; a byte order mark before the JSON does no harm."""
    expected = f"expected polygons of Cityscapes in '{path}'"
    data = read_bytes(path, "polygons of Cityscapes")
    try:
        content = JUDGE.validate_python(json.loads(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(
            f"{expected}, got a broken file ({place}: {first['msg']}). Copy it again."
        ) from error
    except (ValueError, RecursionError) as error:  # neither JSON nor text, or endless brackets
        raise ValueError(f"{expected}, got a broken file ({error}). Copy it again.") from error
    if content.imgWidth * content.imgHeight > MAX_PIXELS:
        raise ValueError(
            f"{expected} of an image of at most {MAX_PIXELS} pixels, got "
            f"{content.imgWidth}x{content.imgHeight}. Correct imgWidth and imgHeight."
        )
    return content
