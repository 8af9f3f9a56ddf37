"""The command converts maps that exist already, and draws previews, as a person calls it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_project import ROOT, Outcome
from demo_project import run as run_script

from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.depth.bins import read_depth
from mmseg.preprocessing.depth_maps.disparity import convert
from mmseg.preprocessing.depth_maps.scaling import SCALING
from mmseg.visualization.depth_sheet import LEGEND_HEIGHT, depth_sheet

HEIGHT, WIDTH = 30, 52
CITIES = ("aachen", "ulm")
FROM = "--from-disparity --num-workers 0"


def make_depth(*words: object) -> Outcome:
    """Run the command in this process."""
    return run_script(ROOT, " ".join(["python tools/make_depth.py", *map(str, words)]))


def recipe_of(folder: Path) -> dict[str, str]:
    return json.loads((folder / "depth.json").read_text())["recipe"]


def street(seed: int) -> np.ndarray:
    """Return the disparity, (H, W) float64, of a road below a far wall, with a hole."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(-0.6, 1, HEIGHT)[:, None].clip(0)
    disparity = 2 + 90 * rows + rng.uniform(0, 3, (HEIGHT, WIDTH))
    disparity[4:9, 10:20] = 0
    return disparity


def stem(number: int) -> str:
    """Return city and name of one of five frames."""
    city = CITIES[number % 2]
    return f"{city}/{city}_{number:06d}_000019"


@pytest.fixture
def cityscapes(tmp_path) -> Path:
    """Five disparity maps of two cities in the form and under the names of the dataset."""
    folder = tmp_path / "disparity/train"
    for number in range(5):
        file = folder / f"{stem(number)}_disparity.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        stored = np.where(street(number) > 0, street(number) * 256 + 1, 0).astype(np.uint16)
        assert cv2.imwrite(str(file), stored)
    return folder


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("workers", [0, 2])
def test_disparity_of_cityscapes_becomes_the_depth_that_training_reads(
    workers, cityscapes, tmp_path
):
    """By the names that the dataset looks for, and near is in low bins; holes are far."""
    before, out = bytes_below(cityscapes), tmp_path / "depth_any/train"
    done = make_depth(cityscapes, "--out", out, "--from-disparity --num-workers", workers)
    assert done.status == 0, done.text
    assert "Layout cityscapes" in done.text
    assert f"Made 5 maps in {out}" in done.text
    assert "Warning" not in done.text
    for number in range(5):
        depth = out / CityscapesDataset.depth_name(f"{stem(number)}_leftImg8bit.png")
        levels = read(depth)
        assert levels.dtype == np.uint8
        source = cityscapes / f"{stem(number)}_disparity.png"
        np.testing.assert_array_equal(levels, convert(source, "inverse"))
        bins = read_depth(depth, "image", (HEIGHT, WIDTH))
        assert bins[-3:].max() < 10 < 200 < bins[:4].min()
        assert (bins[4:9, 10:20] == 255).all()
    assert recipe_of(out) == {"source": "files", "quantity": "inverse", "scaling": SCALING}
    assert bytes_below(cityscapes) == before


def test_files_of_every_kind_keep_their_names_and_distances_are_inverted(tmp_path):
    """The same street as disparity and as distance: the maps are equal but for rounding."""
    given = tmp_path / "given"
    (given / "b/c").mkdir(parents=True)
    disparity = street(7).clip(0.5)
    meters = 300 / disparity
    np.save(given / "one.npy", meters.astype(np.float32))
    cv2.imwrite(str(given / "b/two.tif"), meters)
    cv2.imwrite(str(given / "b/c/three.TIFF"), meters.astype(np.float32))
    (given / "notes.txt").write_text("not a map")
    done = make_depth(given, "--out", tmp_path / "out", FROM, "--quantity metric --layout gta")
    assert done.status == 0, done.text
    assert "metric depth (near is small): they are inverted" in done.text
    assert "Warning" not in done.text
    expected = (disparity - disparity.min()) / (disparity.max() - disparity.min()) * 255
    for name in ("one.png", "b/two.png", "b/c/three.png"):
        levels = read(tmp_path / "out" / name).astype(int)
        assert np.abs(levels - expected.astype(int)).max() <= 1
    assert recipe_of(tmp_path / "out")["quantity"] == "metric"


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_are_named_and_left_out_until_they_are_whole(
    workers, cityscapes, tmp_path, capfd
):
    """Exit status 1 tells scripts; the next run makes the missing maps only."""
    out, options = tmp_path / "out", f"--from-disparity --num-workers {workers}"
    first, second, third = (cityscapes / f"{stem(n)}_disparity.png" for n in (0, 3, 4))
    whole = first.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 16
    first.write_bytes(damaged)
    cv2.imwrite(str(second), np.zeros((4, 6), np.uint16))
    cv2.imwrite(str(third), np.arange(72, dtype=np.uint8).reshape(4, 6, 3))
    done = make_depth(cityscapes, "--out", out, options, "--preview")
    assert done.status == "No map of 3 files, see above."
    assert f"expected an image file at '{first}', got a broken file: the checksum" in done.text
    assert f"can hold, in '{second}', got none; leave the file out" in done.text
    assert f"in '{third}', got 3 channels" in done.text
    assert "Made 2 maps" in done.text
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*_depth.png")}
    assert len(times) == 2
    first.write_bytes(whole)
    for file in (second, third):
        file.unlink()
    done = make_depth(cityscapes, "--out", out, options)
    assert done.status == 0, done.text
    assert "Made 1 map in" in done.text
    assert {path: path.stat().st_mtime_ns for path in times} == times
    done = make_depth(cityscapes, "--out", out, options)
    assert done.status == 0
    assert f"All 3 maps are in {out} already, made from existing maps as inverse" in done.text
    capfd.readouterr()


def test_the_other_quantity_never_passes_for_this_one(cityscapes, tmp_path):
    """Neither are the maps mixed, nor is a complete folder said to be what was asked for."""
    out, metric = tmp_path / "out", f"{FROM} --quantity metric"
    assert make_depth(cityscapes, "--out", out, FROM).status == 0
    before = bytes_below(out)
    done = make_depth(cityscapes, "--out", out, metric)
    assert "already, made from existing maps as inverse depth. To make them from " in done.text
    (out / f"{stem(0)}_depth.png").unlink()
    done = make_depth(cityscapes, "--out", out, metric)
    assert "quantity: 'inverse' and 'metric'" in str(done.status)
    assert len(list(out.rglob("*_depth.png"))) == 4
    done = make_depth(cityscapes, "--out", out, metric, "--overwrite")
    assert done.status == 0, done.text
    assert "look inverted: in 5 of 5 sampled ones" in done.text
    after = bytes_below(out)
    assert set(after) == set(before)
    assert not any(after[name] == before[name] for name in before)


def test_no_input_is_overwritten(cityscapes, tmp_path):
    """Nor is an image by the preview, when its name is forgotten and the next word is an image."""
    before = bytes_below(cityscapes)
    for options in ("--layout gta", "--layout gta --overwrite"):
        done = make_depth(cityscapes, "--out", cityscapes, FROM, options)
        assert "choose another --out" in str(done.status)
    image = next(cityscapes.rglob("*.png"))
    done = make_depth("--out", tmp_path / "out", FROM, cityscapes, "--preview", image)
    assert f"expected a new file *.png for --preview that is no map, got '{image}'" in str(
        done.status
    )
    assert not (tmp_path / "out").exists()
    assert bytes_below(cityscapes) == before


def test_a_model_and_existing_maps_exclude_each_other(cityscapes, tmp_path):
    for words in ("", "--from-disparity --model small"):
        done = make_depth(cityscapes, "--out", tmp_path / "out", words)
        assert done.status == 2
        assert "--from-disparity" in done.text
    done = make_depth(cityscapes, "--out", tmp_path / "out", FROM, "--amp")
    assert done.status == 2 and "expected --amp for a network only" in done.text
    (tmp_path / "empty").mkdir()
    done = make_depth(tmp_path / "empty", "--out", tmp_path / "out", FROM)
    assert "expected files * (.npy, .tif, .tiff, .png) in" in str(done.status)


def test_the_preview_of_converted_maps_shows_depth_and_bins(cityscapes, tmp_path):
    """It is made anew when nothing is left to do, and is no map itself."""
    out = tmp_path / "out"
    for said in ("Made 5 maps", "All 5 maps"):
        done = make_depth(cityscapes, "--out", out, FROM, "--preview")
        assert done.status == 0 and said in done.text, done.text
        preview = out / "depth_preview.png"
        assert f"Preview: {preview}" in done.text
        expected = depth_sheet([(None, path) for path in sorted(out.rglob("*_depth.png"))])
        np.testing.assert_array_equal(read(preview)[..., ::-1], expected)
        preview.unlink()


def test_the_preview_of_computed_maps_shows_the_images_too(model, tmp_path):
    """Of eleven images, eight from the first to the last one."""
    rng = np.random.default_rng(8)
    (tmp_path / "images").mkdir()
    sizes = [(40, 72), (60, 44)]  # wide and tall
    for number in range(11):
        picture = cv2.resize(rng.integers(0, 256, (5, 8, 3), np.uint8), sizes[number % 2][::-1])
        assert cv2.imwrite(str(tmp_path / f"images/{number:02d}.jpg"), picture)
    file = tmp_path / "sheets/sheet.png"
    command = [tmp_path / "images", "--out", tmp_path / "out", "--model", model]
    done = make_depth(*command, "--num-workers 0 --device cpu --preview", file)
    assert done.status == 0, done.text
    assert f"Preview: {file}" in done.text
    chosen = [0, 1, 2, 4, 5, 7, 8, 10]
    pairs = [(tmp_path / f"images/{n:02d}.jpg", tmp_path / f"out/{n:02d}.png") for n in chosen]
    sheet = read(file)[..., ::-1]
    np.testing.assert_array_equal(sheet, depth_sheet(pairs))
    assert sheet.shape[0] > LEGEND_HEIGHT + 8 * 300  # a tall image takes a square
    assert not (tmp_path / "out/depth_preview.png").exists()
