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
    """A title and an (h, w, 3) uint8 RGB picture; without a picture the place stays empty."""

    title: str = ""
    picture: np.ndarray | None = None
    is_smooth: bool = False  # interpolate when scaled (photographs), else keep hard edges


def mosaic(rows: Sequence[Sequence[Cell]], cell_width: int | None = None) -> np.ndarray:
    """Return all cells in a grid, each in the shape of the largest picture.

    Args:
        rows: cells from top to bottom, left to right; rows may have different lengths.
        cell_width: of every cell in pixels; that of the largest picture when left out.
    """
    pictures = [cell.picture for row in rows for cell in row if cell.picture is not None]
    if not pictures:
        raise ValueError("expected at least one picture, got only empty cells.")
    height, full_width = max((p.shape[:2] for p in pictures), key=lambda size: size[0] * size[1])
    width = cell_width or full_width
    height = round(height * width / full_width)
    columns = max(len(row) for row in rows)
    step_y, step_x = height + TITLE_HEIGHT + GAP, width + GAP
    canvas = np.full((len(rows) * step_y + GAP, columns * step_x + GAP, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell.picture is not None:
                top, left = y * step_y + GAP + TITLE_HEIGHT, x * step_x + GAP
                canvas[top : top + height, left : left + width] = _scale(cell, height, width)
    page = Image.fromarray(canvas)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            position = (x * step_x + GAP + width // 2, y * step_y + GAP + TITLE_HEIGHT // 2)
            draw.text(position, cell.title, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(page)


def _scale(cell: Cell, height: int, width: int) -> np.ndarray:
    assert cell.picture is not None
    if cell.picture.shape[:2] == (height, width):
        return cell.picture
    smooth = cv2.INTER_AREA if cell.picture.shape[0] > height else cv2.INTER_LINEAR
    mode = smooth if cell.is_smooth else cv2.INTER_NEAREST
    return cv2.resize(cell.picture, (width, height), interpolation=mode)
