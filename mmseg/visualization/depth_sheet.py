"""A sheet of depth maps: each row one image, its depth as stored, and the bins in training.

A person shall see at once whether near and far are the right way round.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmseg.datasets.depth.bins import depth_to_bins, read_depth
from mmseg.datasets.depth.inspection import sampled
from mmseg.datasets.image_files import read_color, read_unchanged
from mmseg.visualization.mosaic import GAP, Cell, mosaic
from mmseg.visualization.palettes import heat, save_picture

NEAR_IS_BRIGHT = "near is bright"
DEPTH_TITLE = f"Depth as stored: {NEAR_IS_BRIGHT}"
BINS_TITLE = "Bins in training: near is dark"
FRAME = 128  # gray, so that white depth does not end in white paper
LEGEND = (
    "What is near (in a street: the road at the bottom) must be bright in Depth, dark in Bins.",
    "If what is far (the sky, the end of the street) is bright in Depth, the maps are inverted.",
)
FONT_SIZE, LINE_HEIGHT, BAR_HEIGHT = 13, 20, 14
LEGEND_HEIGHT = GAP + (len(LEGEND) + 1) * LINE_HEIGHT


def require_new_sheet(file: Path, usual: Path, maps: Sequence[Path]) -> None:
    """Raise `ValueError` unless a sheet may be written: `usual` is replaced, and nothing else."""
    is_new = file == usual or (file.suffix.lower() == ".png" and not file.exists())
    if not is_new or file in maps:
        raise ValueError(
            f"expected a new file *.png for --preview that is no map, got '{file}'; choose another "
            f"name, or leave it out (after the other arguments) for '{usual}', which is replaced."
        )


def save_sheet(file: Path, maps: Sequence[Path], images: Sequence[Path | None]) -> None:
    """Draw up to 8 maps, from the first to the last, beside their images."""
    save_picture(file, depth_sheet([(images[i], maps[i]) for i in sampled(len(maps))]))


def depth_sheet(rows: Sequence[tuple[Path | None, Path]], cell_width: int = 320) -> np.ndarray:
    """Return an RGB picture with one row per depth map, and a legend above them.

    A row is an image (None: there is none to show) and its depth map; `cell_width` is in pixels.
    """
    if not rows:
        raise ValueError("expected at least one depth map for the sheet, got none.")
    has_images = any(image is not None for image, _ in rows)
    grid = [_pictures(image, depth, cell_width) for image, depth in rows]
    height = max(picture.shape[0] for row in grid for picture in row if picture is not None)
    cells = []
    for (image, depth), row in zip(rows, grid, strict=True):
        depth_title = DEPTH_TITLE if has_images else f"{depth.name}: {NEAR_IS_BRIGHT}"
        titles = [(image or depth).name, depth_title, BINS_TITLE]
        padded = [None if p is None else _padded(p, height, cell_width) for p in row]
        line = [Cell(_shortened(t, cell_width), p) for t, p in zip(titles, padded, strict=True)]
        cells.append(line if has_images else line[1:])
    sheet = mosaic(cells, cell_width=cell_width)
    return np.concatenate([_legend(sheet.shape[1], cell_width, has_images), sheet])


def _pictures(image: Path | None, depth: Path, side: int) -> list[np.ndarray | None]:
    """Return image, depth and bins as RGB pictures that fit into a square of `side` pixels."""
    photograph = None if image is None else read_color(image)[..., ::-1]
    stored = read_unchanged(depth)
    height, width = (stored if photograph is None else photograph).shape[:2]
    bins = read_depth(depth, image or depth, (height, width))
    levels = stored.astype(np.float32) / (257 if stored.dtype == np.uint16 else 1)
    return [
        None if photograph is None else _fitted(photograph, side),
        _gray(_fitted(levels, side)),
        heat(_fitted(bins, side), 0, 255),
    ]


def _gray(levels: np.ndarray) -> np.ndarray:
    """Turn (h, w) levels 0…255 into an RGB picture."""
    return np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, axis=2)


def _fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """Scale (h, w) or (h, w, 3) so that its longer side has `side` pixels."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=mode)


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Put a picture, with a frame over its outermost pixels, into the middle of a white one."""
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    canvas = np.full((height, width, 3), 255, np.uint8)
    place = canvas[top : top + picture.shape[0], left : left + picture.shape[1]]
    place[:] = FRAME
    place[1:-1, 1:-1] = picture[1:-1, 1:-1]
    return canvas


def _legend(width: int, cell_width: int, has_images: bool) -> np.ndarray:
    """Return a strip that says in words, and with a scale per column, where near is."""
    page = Image.new("RGB", (width, LEGEND_HEIGHT), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_SIZE)
    for number, text in enumerate(LEGEND):
        middle = GAP + number * LINE_HEIGHT + LINE_HEIGHT // 2
        draw.text((GAP, middle), text, fill="black", font=font, anchor="lm")
    middle = LEGEND_HEIGHT - LINE_HEIGHT // 2
    levels = np.linspace(0, 255, max(1, cell_width // 2)).astype(np.uint8)[None]
    for column, bar in enumerate((_gray(levels), heat(depth_to_bins(levels), 0, 255))):
        left = GAP + (column + has_images) * (cell_width + GAP) + cell_width // 4
        right = left + levels.shape[1]
        picture = Image.fromarray(np.repeat(bar, BAR_HEIGHT, axis=0))
        page.paste(picture, (left, middle - BAR_HEIGHT // 2))
        draw.text((left - GAP, middle), "far", fill="black", font=font, anchor="rm")
        draw.text((right + GAP, middle), "near", fill="black", font=font, anchor="lm")
    return np.asarray(page)


def _shortened(title: str, width: int) -> str:
    """Cut the beginning of a title, a file name, until it can be drawn in `width` pixels."""
    font = ImageFont.load_default(FONT_SIZE)
    cut = text = "".join(letter if letter.isprintable() else "?" for letter in title)
    while len(text) > 1 and font.getlength(cut) > width:
        text = text[1:]
        cut = f"...{text}"
    return cut
