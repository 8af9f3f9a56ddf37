"""The sheet shows which way round the maps are."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg.datasets.depth.bins import depth_to_bins
from mmseg.visualization.depth_sheet import FRAME, LEGEND_HEIGHT, depth_sheet
from mmseg.visualization.mosaic import GAP, TITLE_HEIGHT
from mmseg.visualization.palettes import heat

HEIGHT, WIDTH = 12, 20


def write(path: Path, picture: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def pair(folder: Path, size: tuple[int, int] = (HEIGHT, WIDTH), kind: type = np.uint8):
    """Return an image and its map: far (0) at the top, near at the bottom."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    levels = np.repeat(
        np.linspace(0, np.iinfo(kind).max, size[0]).astype(kind)[:, None], size[1], 1
    )
    name = f"{size[0]}_{kind.__name__}"
    return write(folder / f"{name}.png", image), write(folder / f"{name}_depth.png", levels)


def cell(sheet: np.ndarray, row: int, column: int, height: int = HEIGHT) -> np.ndarray:
    top = LEGEND_HEIGHT + row * (height + TITLE_HEIGHT + GAP) + GAP + TITLE_HEIGHT
    left = GAP + column * (WIDTH + GAP)
    return sheet[top : top + height, left : left + WIDTH]


def inner(picture: np.ndarray) -> np.ndarray:
    return picture[1:-1, 1:-1]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_row_holds_the_image_its_depth_in_gray_and_its_bins(kind, tmp_path):
    """At the size of the files nothing is interpolated; only the frame covers them."""
    image, depth = pair(tmp_path, kind=kind)
    sheet = depth_sheet([(image, depth)], cell_width=WIDTH)
    assert sheet.dtype == np.uint8
    size = (LEGEND_HEIGHT + HEIGHT + TITLE_HEIGHT + 2 * GAP, 3 * (WIDTH + GAP) + GAP, 3)
    assert sheet.shape == size
    np.testing.assert_array_equal(
        inner(cell(sheet, 0, 0)), inner(cv2.imread(str(image))[..., ::-1])
    )
    stored = cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
    gray = np.rint(stored / (257 if kind is np.uint16 else 1))
    np.testing.assert_array_equal(inner(cell(sheet, 0, 1)), inner(np.dstack([gray] * 3)))
    bins = heat(depth_to_bins(stored), 0, 255)
    np.testing.assert_array_equal(inner(cell(sheet, 0, 2)), inner(bins))
    for column in range(3):
        assert (cell(sheet, 0, column)[[0, -1]] == FRAME).all()
        assert (cell(sheet, 0, column)[:, [0, -1]] == FRAME).all()


def test_near_is_bright_in_depth_and_dark_in_bins(tmp_path):
    sheet = depth_sheet([pair(tmp_path)], cell_width=WIDTH)
    far, near = (slice(1, 3), slice(1, -1)), (slice(-3, -1), slice(1, -1))
    depth, bins = cell(sheet, 0, 1), cell(sheet, 0, 2)
    assert depth[near].mean() > depth[far].mean() + 150
    assert bins[near].mean() < bins[far].mean() - 50


def test_the_scales_of_the_legend_run_from_far_to_near(tmp_path):
    """With the colors of the columns below: for Depth black to white, for Bins yellow to blue."""
    width = 200
    sheet = depth_sheet([pair(tmp_path)], cell_width=width)
    bar = sheet[LEGEND_HEIGHT - 10]
    for column, far, near in ((1, [0] * 3, [255] * 3), (2, *heat(np.array([[1.0, 0.0]]))[0])):
        left = GAP + column * (width + GAP) + width // 4
        np.testing.assert_array_equal(bar[left], far)
        np.testing.assert_array_equal(bar[left + width // 2 - 1], near)


def dark_columns(strip: np.ndarray) -> int:
    return int((strip.min(axis=(0, 2)) < 100).sum())


def test_words_say_where_near_is(tmp_path):
    """Two lines above, and a title over every picture of every row."""
    rows = [pair(tmp_path), pair(tmp_path, kind=np.uint16)]
    sheet = depth_sheet(rows, cell_width=320)
    assert dark_columns(sheet[: LEGEND_HEIGHT - 20]) > 200
    height = 320 * HEIGHT // WIDTH
    for row in range(2):
        top = LEGEND_HEIGHT + GAP + row * (height + TITLE_HEIGHT + GAP)
        for column in range(3):
            left = GAP + column * 326
            assert dark_columns(sheet[top : top + TITLE_HEIGHT, left : left + 320]) > 20


def test_without_images_there_is_no_column_for_them(tmp_path):
    image, depth = pair(tmp_path)
    with_image = depth_sheet([(image, depth)], cell_width=WIDTH)
    without = depth_sheet([(None, depth)], cell_width=WIDTH)
    assert without.shape[1] == 2 * (WIDTH + GAP) + GAP
    for column in range(2):
        np.testing.assert_array_equal(cell(without, 0, column), cell(with_image, 0, column + 1))
    mixed = depth_sheet([(image, depth), (None, depth)], cell_width=WIDTH)
    assert (cell(mixed, 1, 0) == 255).all()
    np.testing.assert_array_equal(cell(mixed, 1, 1), cell(with_image, 0, 1))


def test_images_of_another_shape_are_not_distorted(tmp_path):
    """12x20 and 40x10 in squares of 20: the second becomes 20x5, in the middle of white."""
    rows = [pair(tmp_path), pair(tmp_path, (40, 10))]
    sheet = depth_sheet(rows, cell_width=WIDTH)
    wide, tall = cell(sheet, 0, 1, WIDTH), cell(sheet, 1, 1, WIDTH)
    assert (wide[:4] == 255).all()
    assert (wide[-4:] == 255).all()
    assert (wide[4] == FRAME).all()
    is_paper = (tall == 255).all(axis=(0, 2))
    assert is_paper.tolist() == [True] * 7 + [False] * 5 + [True] * 8
    assert (np.diff(tall[1:-1, 9, 0].astype(int)) > 0).all()  # far to near


@pytest.mark.parametrize("name", ["x" * 300, "straße_\udcff\n\tx\ny", "a"])
def test_any_file_name_can_be_a_title(name, tmp_path):
    """Too long, or with letters that cannot be drawn."""
    image, depth = pair(tmp_path)
    plain = depth_sheet([(image, depth)], cell_width=100)
    name = name[:250]
    try:
        rows = [(image.rename(tmp_path / name), depth.rename(tmp_path / f"{name[:240]}.png"))]
    except (UnicodeEncodeError, OSError) as error:
        pytest.skip(f"no file can have this name here: {error}")
    sheet = depth_sheet(rows, cell_width=100)
    assert dark_columns(sheet[LEGEND_HEIGHT + GAP :][:TITLE_HEIGHT, GAP:106]) > 2
    # The rest of a long title would be drawn beside the sheet.
    assert (sheet[LEGEND_HEIGHT + GAP :][:TITLE_HEIGHT, :GAP] == 255).all()
    pictures = slice(LEGEND_HEIGHT + GAP + TITLE_HEIGHT, None)
    np.testing.assert_array_equal(sheet[pictures], plain[pictures])
    assert depth_sheet([(None, rows[0][1])], cell_width=100).shape[1] == 2 * 106 + GAP


def test_what_cannot_be_shown_is_an_error_that_names_the_files(tmp_path):
    image, depth = pair(tmp_path)
    other, _ = pair(tmp_path, (HEIGHT + 1, WIDTH))
    color = write(tmp_path / "color.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(ValueError, match=f"20x13 pixels .*{other.name}.* got 20x12 .*{depth.name}"):
        depth_sheet([(other, depth)])
    for row in ((image, color), (None, color)):
        with pytest.raises(ValueError, match="grayscale PNG at .*color.png.* got 3 channels"):
            depth_sheet([row])
    with pytest.raises(FileNotFoundError, match="none_depth.png', got no such file"):
        depth_sheet([(image, tmp_path / "none_depth.png")])
    with pytest.raises(ValueError, match="expected at least one depth map"):
        depth_sheet([])
