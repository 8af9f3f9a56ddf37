"""A grid of titled pictures as one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

TITLE_HEIGHT = 22
GAP = 6


@dataclass(frozen=True)
class Cell:
    """A title and an (h, w, 3) uint8 RGB picture; without a picture, the cell stays empty."""

    title: str = ""
    picture: np.ndarray | None = None
    is_smooth: bool = False  # interpolate when scaled, as for photographs; else keep hard edges


def mosaic(rows: Sequence[Sequence[Cell]], cell_width: int | None = None) -> np.ndarray:
    """Return all cells in a grid, each in the shape of the largest picture.

    Rows may have different lengths. `cell_width` in pixels is by default that of the largest.
    """
    pictures = [cell.picture for row in rows for cell in row if cell.picture is not None]
    height, full_width = max((p.shape[:2] for p in pictures), key=lambda size: size[0] * size[1])
    width = cell_width or full_width
    height = round(height * width / full_width)
    columns = max(map(len, rows))
    step_y, step_x = height + TITLE_HEIGHT + GAP, width + GAP
    page = Image.new("RGB", (columns * step_x + GAP, len(rows) * step_y + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            left, top = x * step_x + GAP, y * step_y + GAP
            if cell.picture is not None:
                smooth = cv2.INTER_AREA if cell.picture.shape[0] > height else cv2.INTER_LINEAR
                mode = smooth if cell.is_smooth else cv2.INTER_NEAREST
                picture = cv2.resize(cell.picture, (width, height), interpolation=mode)
                page.paste(Image.fromarray(picture), (left, top + TITLE_HEIGHT))
            position = (left + width // 2, top + TITLE_HEIGHT // 2)
            draw.text(position, cell.title, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(page)
