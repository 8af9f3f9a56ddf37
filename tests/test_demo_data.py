"""The demo data: real formats, plausible scenes, the same on every run."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.helpers.labels import name2label
from cityscapesscripts.preparation.json2labelImg import createLabelImage
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo.camera import Camera, clip_half_plane, ground_frame, upright_frame  # noqa: E402
from demo.datasets import claim_folder, demo_jobs, draw  # noqa: E402
from demo.domains import CITYSCAPES, DOMAINS, GTA, SYNTHIA, Domain  # noqa: E402
from demo.layout import draw_scene  # noqa: E402
from demo.materials import LOOKS, Palette  # noqa: E402
from demo.people import person  # noqa: E402
from demo.render import Shape, index_map, labelled, project  # noqa: E402
from demo.rendering import render  # noqa: E402
from demo.scene import rectangle  # noqa: E402
from mmseg.datasets import CityscapesDataset, SynthiaDataset  # noqa: E402
from mmseg.datasets.depth.inspection import folder_warnings  # noqa: E402
from mmseg.datasets.depth.record import find_record, record_warnings  # noqa: E402
from mmseg.datasets.labels import (  # noqa: E402
    id_to_train_id,
)
from mmseg.preprocessing.depth_maps.scaling import SCALING  # noqa: E402
from tools.make_demo_data import main as make_demo_data  # noqa: E402

SIZE = (160, 90)
CAMERA = Camera(width=160, height=90, focal=100, center=80, horizon=40, eye=1.5)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 2 GTA, 1 SYNTHIA, 2 + 1 + 6 Cityscapes images of 160 x 90."""
    out = tmp_path_factory.mktemp("demo")
    for job in demo_jobs(out, 2, 2, SIZE):
        draw(job, seed=3)
    return out


@cache
def shapes_of(domain: Domain, index: int) -> list[Shape]:
    """Return the labelled shapes of one image at its default size."""
    rng = np.random.default_rng((0, domain.number, index))
    return labelled(project(draw_scene(domain, index, (320, 160), rng)), domain.absent)


def names_in(domain: Domain, index: int) -> set[str]:
    shapes = shapes_of(domain, index)
    pixels = np.bincount(index_map(shapes, (320, 160)).ravel(), minlength=len(shapes))
    return {
        shape.face.label or "" for shape, count in zip(shapes, pixels, strict=True) if count > 9
    }


def test_gta_has_rgb_images_palette_labels_and_gray_depth(demo):
    names = ["00001.png", "00002.png"]
    for folder in ("images", "labels", "depth_any"):
        assert sorted(path.name for path in (demo / "gta" / folder).iterdir()) == names
    with Image.open(demo / "gta/labels/00002.png") as label:
        assert label.mode == "P"
        assert label.getpalette()[21:24] == CityscapesDataset.ID_PALETTE[7]
        ids = np.asarray(label)
    assert ids.shape == (90, 160)
    assert ids.max() <= 33
    assert Image.open(demo / "gta/images/00001.png").mode == "RGB"
    assert Image.open(demo / "gta/depth_any/00001.png").mode == "L"


def test_synthia_label_has_the_class_in_red_and_the_instance_in_green(demo):
    label = cv2.imread(str(demo / "synthia/GT/LABELS/0000000.png"), cv2.IMREAD_UNCHANGED)
    assert label.dtype == np.uint16
    assert label.shape == (90, 160, 3)
    blue, green, red = np.moveaxis(label, -1, 0)
    assert not blue.any()
    assert set(np.unique(red)) <= {*SynthiaDataset.ID_TO_TRAIN_ID, 0, 22}
    is_thing = np.isin(red, [8, 10, 11, 12, 17, 19])
    is_flat = np.isin(red, [1, 3, 4])
    assert is_thing.any()
    assert green[is_thing].min() > 0
    assert green[is_flat].max() == 0
    assert (demo / "synthia/RGB/0000000.png").is_file()
    assert (demo / "synthia/depth_any/0000000.png").is_file()


def test_cityscapes_polygons_reproduce_the_label_ids(demo):
    files = sorted((demo / "cityscapes/gtFine").rglob("*_polygons.json"))
    assert len(files) == 3
    for file in files:
        annotation = Annotation()
        annotation.fromJsonFile(str(file))
        drawn = np.asarray(createLabelImage(annotation, "ids"))
        stored = Path(str(file).replace("polygons.json", "labelIds.png"))
        np.testing.assert_array_equal(drawn, np.asarray(Image.open(stored)))


def test_cityscapes_files_are_named_as_published_and_test_images_have_no_labels(demo):
    root = demo / "cityscapes"
    train = "train/aachen/aachen_000000_000019"
    assert (root / f"leftImg8bit/{train}_leftImg8bit.png").is_file()
    assert (root / f"gtFine/{train}_gtFine_labelIds.png").is_file()
    assert (root / f"depth_any/{train}_depth.png").is_file()
    assert (root / "leftImg8bit/val/frankfurt/frankfurt_000000_000019_leftImg8bit.png").is_file()
    assert len(list((root / "leftImg8bit/test").rglob("*.png"))) == 6
    assert len(list((root / "depth_any/test").rglob("*.png"))) == 6
    assert not (root / "gtFine/test").exists()


def test_files_depend_only_on_seed_and_number(demo, tmp_path):
    for job in demo_jobs(tmp_path, 1, 3, SIZE):
        draw(job, seed=3)
    common = [
        p.relative_to(tmp_path)
        for p in tmp_path.rglob("*.*")
        if (demo / p.relative_to(tmp_path)).exists()
    ]
    assert len(common) > 20
    for name in common:
        assert (tmp_path / name).read_bytes() == (demo / name).read_bytes(), name
    other = render(GTA, 0, SIZE, seed=4)
    assert not np.array_equal(
        other.image, cv2.imread(str(demo / "gta/images/00001.png"))[..., ::-1]
    )


@pytest.mark.parametrize("domain", [GTA, CITYSCAPES], ids=lambda domain: domain.name)
def test_twenty_images_show_all_classes(domain):
    seen = set().union(*(names_in(domain, index) for index in range(20)))
    ids = np.array([name2label[name].id for name in seen])
    assert set(range(19)) <= set(id_to_train_id(ids, CityscapesDataset.ID_TO_TRAIN_ID).tolist())


def test_synthia_shows_sixteen_classes_and_never_terrain_truck_or_train():
    seen = set().union(*(names_in(SYNTHIA, index) for index in range(20)))
    assert not seen & {"terrain", "truck", "train", "rail track"}
    assert {"wall", "fence", "bus", "rider", "motorcycle", "bicycle", "lane marking"} <= seen


@pytest.mark.parametrize("name", DOMAINS)
def test_ground_depth_grows_towards_the_camera_and_sky_is_zero(name):
    """On the road's middle, a lower row never has a smaller value; the sky is farthest."""
    view = render(DOMAINS[name], 5, SIZE, seed=0)
    label = np.array([shape.face.label for shape in view.shapes])[view.index]
    assert view.depth[label == "sky"].max() == 0
    assert view.depth.max() == 255
    for column in range(0, 160, 20):
        road = view.depth[label[:, column] == "road", column].astype(int)
        assert (np.diff(road) >= 0).all()


def test_inverse_depth_and_texture_coordinates_of_a_plane():
    """A point 2 m right, 1 m up and 10 m ahead, on a plane that faces the camera.

    u = 80 + 100 * 2 / 10 = 100, v = 40 + 100 * (1.5 - 1) / 10 = 45.
    """
    to_image = CAMERA.plane_to_image(upright_frame(0.5, 10).axes)
    corner = CAMERA.project(to_image, rectangle(1.5, 1, 2.5, 2))[0]
    np.testing.assert_allclose(corner, (100, 45))
    s, t, inverse = np.linalg.inv(to_image) @ (*corner, 1)
    np.testing.assert_allclose((s / inverse, t / inverse, 1 / inverse), (1.5, 1, 10))


def test_ground_behind_the_camera_is_clipped():
    """The road from -50 m to 15 m ends at row 40 + 100 * 1.5 / 15 = 50 and fills the last row."""
    polygon = CAMERA.project(CAMERA.plane_to_image(ground_frame().axes), rectangle(-3, -50, 3, 15))
    np.testing.assert_allclose(polygon.min(axis=0)[1], 50)
    np.testing.assert_allclose(polygon.max(axis=0)[1], 89)
    assert len(clip_half_plane(polygon, polygon[:, 1] - 100)) == 0


def test_people_stand_on_the_ground_and_are_as_tall_as_people():
    """Feet at Y = 0, head at 1.5 to 1.9 m; the camera test above turns that into pixels."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        thing = person(1.0, 8.0, Palette(LOOKS, rng))
        heights = np.concatenate([face.frame.points(face.outline)[:, 1] for face in thing.faces])
        assert abs(heights.min()) < 0.06
        assert 1.5 < heights.max() < 1.95


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=lambda domain: domain.name)
def test_painters_order_agrees_with_distance(domain):
    """What is drawn last is also what is nearest, on at least 97 % of the pixels."""
    agreement = []
    for index in range(4):
        shapes = shapes_of(domain, index)
        drawn = index_map(shapes, (320, 160))
        v, u = np.indices(drawn.shape)
        nearest = np.zeros(drawn.shape)
        for shape in shapes:
            mask = index_map([shapes[0], shape], (320, 160)) == 1
            a, b, c = shape.to_plane[2]
            inverse = a * u + b * v + c
            nearest = np.where(mask, np.maximum(nearest, inverse), nearest)
        table = np.array([shape.to_plane[2] for shape in shapes])[drawn]
        shown = table[..., 0] * u + table[..., 1] * v + table[..., 2]
        agreement.append(np.mean(shown > 0.8 * nearest))
    assert np.mean(agreement) > 0.97, agreement


def test_command_writes_all_three_datasets_and_explains_a_bad_size(tmp_path, capsys):
    command = [sys.executable, "tools/make_demo_data.py", "--out", str(tmp_path)]
    counts = ["--source-images", "2", "--target-images", "2"]
    subprocess.run(
        [*command, *counts, "--size", "64x48"], cwd=ROOT, check=True, capture_output=True
    )
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders == ["cityscapes", "gta", "synthia"]
    assert Image.open(tmp_path / "gta/images/00001.png").size == (64, 48)
    assert_depth_is_recorded_and_looks_right(tmp_path)
    polygons = next(tmp_path.rglob("*_polygons.json"))
    assert json.loads(polygons.read_text())["imgHeight"] == 48
    with pytest.raises(SystemExit):
        make_demo_data(["--out", str(tmp_path), "--size", "64"])
    assert "expected WIDTHxHEIGHT such as 320x160, got '64'" in capsys.readouterr().err


def assert_depth_is_recorded_and_looks_right(out: Path) -> None:
    """All datasets have maps of one recipe, scaled as the maps of a network are."""
    folders = [out / "gta/depth_any", out / "synthia/depth_any", out / "cityscapes/depth_any/val"]
    for folder in folders:
        assert record_warnings(folders[0], folder) == []
        assert folder_warnings(sorted(folder.rglob("*.png")), folder) == []
        record = find_record(folder)
        assert record is not None
        assert record.recipe["scaling"] == SCALING
        assert record.recipe["quantity"] == "inverse"


def test_images_of_two_seeds_do_not_mix_in_one_folder(tmp_path):
    claim_folder(tmp_path, 0, None)
    claim_folder(tmp_path, 0, None)
    with pytest.raises(ValueError, match="made, .*'seed': 0.*, got .*'seed': 1.*; choose another"):
        claim_folder(tmp_path, 1, None)
