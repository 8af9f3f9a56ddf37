"""What a look at a few depth maps tells, and what it must not tell."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_data import Files, write_png

from mmseg.datasets import build_dataset
from mmseg.datasets.depth import inspection
from mmseg.datasets.depth.inspection import dataset_warnings, folder_warnings, sampled
from mmseg.datasets.depth.record import DepthRecord

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from demo.domains import DOMAINS  # noqa: E402
from demo.rendering import render  # noqa: E402

# Three rows of thirds; 30 rows of 12 pixels in all. The bottom of a street is near, so bright.
STREET = np.repeat(np.uint8([[0], [120], [250]]), 10, 0).repeat(12, 1)
INVERTED = 255 - STREET
FLAT = np.full((30, 12), 77, np.uint8)
SIZES = {"gta": (64, 36), "synthia": (64, 38), "cityscapes": (64, 32)}


def write(folder: Path, *maps: np.ndarray) -> list[Path]:
    files = [folder / f"{number:02d}.png" for number in range(len(maps))]
    for file, stored in zip(files, maps, strict=True):
        write_png(file, stored)
    return files


def watch_reading(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list to which every map that is read gets appended."""
    read: list[Path] = []
    original = inspection.read_unchanged
    monkeypatch.setattr(inspection, "read_unchanged", lambda p: read.append(p) or original(p))
    return read


def test_good_maps_give_no_warning(tmp_path: Path) -> None:
    assert folder_warnings(write(tmp_path, *[STREET] * 5), tmp_path) == []
    assert folder_warnings([], tmp_path) == []


@pytest.mark.parametrize("name", DOMAINS)
def test_drawn_scenes_are_the_right_way_round_and_their_negatives_are_not(
    name: str, tmp_path: Path
) -> None:
    """Each of eight scenes by itself, and all of them together."""
    depth = [render(DOMAINS[name], index, SIZES[name], seed=0).depth for index in range(8)]
    files = write(tmp_path / "good", *depth)
    negatives = write(tmp_path / "negative", *[255 - stored for stored in depth])
    for file, negative in zip(files, negatives, strict=True):
        assert folder_warnings([file], tmp_path) == []
        assert len(folder_warnings([negative], tmp_path)) == 1
    assert folder_warnings(files, tmp_path) == []
    (warning,) = folder_warnings(negatives, tmp_path / "negative")
    assert warning.startswith(f"The depth maps in '{tmp_path}/negative' look inverted: in 8 of 8")
    assert f"(such as '{negatives[0]}')" in warning
    assert "tools/make_depth.py --preview" in warning
    assert "tools/make_depth.py --from-disparity" in warning


@pytest.mark.parametrize(
    ("inverted", "others", "warns"), [(3, 2, True), (2, 2, False), (2, 3, False), (1, 0, True)]
)
def test_a_folder_looks_inverted_if_most_of_its_maps_do(
    inverted: int, others: int, warns: bool, tmp_path: Path
) -> None:
    """Constant maps tell neither."""
    files = write(tmp_path, *[FLAT], *[STREET] * others, *[INVERTED] * inverted)
    warnings = folder_warnings(files, tmp_path)
    assert sum("look inverted" in warning for warning in warnings) == warns


def test_a_little_brighter_top_is_not_inverted(tmp_path: Path) -> None:
    """Bottom 100, top 100 + d, and 0 and 200 in the middle: 20 is a tenth of the range."""
    for top, warns in ((119, 0), (121, 1)):
        stored = np.full((30, 12), 100, np.uint8)
        stored[:10] = top
        stored[12], stored[15] = 0, 200
        assert len(folder_warnings(write(tmp_path, stored), tmp_path)) == warns, top


def test_constant_maps_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    files = write(tmp_path, STREET, FLAT, STREET, 0 * FLAT, STREET)
    (warning,) = folder_warnings(files, tmp_path)
    assert warning.startswith(
        f"2 of 5 sampled depth maps (such as '{files[1]}') in '{tmp_path}' hold one value"
    )


def test_16_bit_maps_are_named_and_those_that_hold_8_bits_twice(tmp_path: Path) -> None:
    wide = STREET.astype(np.uint16) * 257
    files = write(tmp_path, STREET, wide, STREET.astype(np.uint16))
    first, second = folder_warnings(files, tmp_path)
    assert first.startswith(f"2 of 3 sampled depth maps (such as '{files[1]}') in")
    assert "are 16-bit files" in first
    assert "tools/make_depth.py --from-disparity" in first
    assert second.startswith(f"1 of 3 sampled depth maps (such as '{files[2]}') in")
    assert "values up to 255 only" in second
    at_limit, above = STREET.astype(np.uint16) + 5, STREET.astype(np.uint16) + 6  # 255, 256
    assert len(folder_warnings(write(tmp_path, at_limit), tmp_path)) == 2
    assert len(folder_warnings(write(tmp_path, above), tmp_path)) == 1


def test_inverted_16_bit_maps_are_seen_too(tmp_path: Path) -> None:
    warnings = folder_warnings(write(tmp_path, INVERTED.astype(np.uint16) * 257), tmp_path)
    assert [("are 16-bit" in text, "look inverted" in text) for text in warnings] == [
        (True, False),
        (False, True),
    ]


def test_colored_missing_and_broken_maps_are_said_without_an_error(tmp_path: Path) -> None:
    files = write(tmp_path, STREET, np.dstack([STREET] * 3), STREET, STREET)
    files[2].unlink()
    files[3].write_bytes(files[3].read_bytes()[:-15])
    unreadable, colored = folder_warnings(files, tmp_path)
    assert unreadable.startswith(f"2 of 4 sampled depth maps in '{tmp_path}' cannot be read")
    assert unreadable.endswith(f"an image file at '{files[2]}', got no such file.")
    assert colored.startswith(f"1 of 4 sampled depth maps (such as '{files[1]}')")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 16, 24966])
def test_samples_are_few_and_spread_from_the_first_to_the_last(count: int) -> None:
    indices = sampled(count)
    assert len(indices) == min(count, 8)
    assert indices == sorted(set(indices))
    assert indices[:1] == [0][:count]
    assert indices[-1:] == [count - 1][:count]
    steps = np.diff(indices)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_of_many_maps_eight_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last are among them."""
    files = write(tmp_path, *[INVERTED] * 11)
    read = watch_reading(monkeypatch)
    (warning,) = folder_warnings(files, tmp_path)
    assert "in 8 of 8" in warning
    assert len(read) == len(set(read)) == 8
    assert (read[0], read[-1]) == (files[0], files[-1])


def test_both_domains_are_looked_at_reading_eight_maps_of_each_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven target images and three source images, each map inverted."""
    files = Files(tmp_path)
    files.write(source=3, target=11)
    for path in tmp_path.rglob("depth_any/**/*.png"):
        height, width = cv2.imread(str(path)).shape[:2]
        write_png(path, np.tile(np.arange(height, 0, -1, np.uint8)[:, None], width))
    DepthRecord({"source": "model"}, {}).write(files.gta / "depth_any")
    DepthRecord({"source": "files"}, {}).write(files.cityscapes / "depth_any")
    dataset = build_dataset(files.pairs())
    read = watch_reading(monkeypatch)
    named: list[str] = []
    name_of = dataset.target.depth_name
    dataset.target.depth_name = lambda name: named.append(name) or name_of(name)
    differ, source, target = dataset_warnings(dataset)
    assert "were made differently: source: 'model' and 'files'" in differ
    assert f"'{files.gta}/depth_any' look inverted: in 3 of 3" in source
    assert f"'{files.cityscapes}/depth_any/train' look inverted: in 8 of 8" in target
    assert len(read) == len(set(read)) == 3 + 8
    assert read[-1].name == "ulm_000010_000019_depth.png"
    assert len(named) == 8


def test_one_domain_or_none_with_depth_is_looked_at_alone(files: Files) -> None:
    for path in files.gta.rglob("depth_any/*.png"):
        write_png(path, INVERTED)
    (alone,) = dataset_warnings(build_dataset(files.source()))
    assert f"'{files.gta}/depth_any' look inverted" in alone
    without = files.target(dep_dir=None)
    assert dataset_warnings(build_dataset(files.pairs(target=without))) == [alone]
    assert dataset_warnings(build_dataset(files.source(dep_dir=None))) == []
    assert dataset_warnings(object()) == []
