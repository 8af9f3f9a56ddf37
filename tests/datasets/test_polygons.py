"""Polygons are drawn as Cityscapes' own scripts draw them; broken files are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.helpers.labels import labels, name2label
from cityscapesscripts.preparation.json2labelImg import createLabelImage

from demo.writers import CITYSCAPES_IDS
from demo.writers import PALETTE as DEMO_PALETTE
from mmseg.datasets import CityscapesDataset
from mmseg.datasets.cityscapes import ID_NAMES, TRAIN_IDS
from mmseg.datasets.polygons import PolygonLabels
from mmseg.preprocessing.label_conversion import convert_cityscapes_label

WIDTH, HEIGHT = 61, 37
TRIANGLE = [[5, 3], [50, 9], [20, 33]]


def write(path: Path, objects: list[dict], **other: Any) -> Path:
    content = {"imgWidth": WIDTH, "imgHeight": HEIGHT, "objects": objects, **other}
    path.write_text(json.dumps(content))
    return path


def drawn_by_its_authors(path: Path) -> np.ndarray:
    annotation = Annotation()
    annotation.fromJsonText(path.read_text())
    return np.array(createLabelImage(annotation, "trainIds"))


def test_names_ids_and_colors_are_those_of_its_authors() -> None:
    named = [label for label in labels if label.id >= 0]
    assert list(ID_NAMES) == [label.name for label in named]
    assert {label.name: label.trainId for label in named} == TRAIN_IDS
    assert [list(label.color) for label in labels] == CityscapesDataset.ID_PALETTE
    assert {name: name2label[name].id for name in CITYSCAPES_IDS} == CITYSCAPES_IDS
    assert [label.color for label in labels] == DEMO_PALETTE


@pytest.mark.parametrize("seed", range(8))
def test_random_polygons_are_drawn_as_by_its_authors(seed: int, tmp_path: Path) -> None:
    """With corners outside of the image, of whole and other numbers, one over the other."""
    rng = np.random.default_rng(seed)
    objects = []
    for number in range(25):
        corners = rng.uniform(-30, 90, (int(rng.integers(2, 9)), 2))
        corners = corners.round() if number % 2 else corners
        objects.append({"label": str(rng.choice(ID_NAMES)), "polygon": corners.tolist()})
    path = write(tmp_path / "a.json", objects)
    np.testing.assert_array_equal(PolygonLabels(TRAIN_IDS)(path), drawn_by_its_authors(path))


ODD = {
    "two points": {"polygon": [[3, 4], [50, 30]]},
    "outside": {"polygon": [[-90, -80], [-5, -9], [-70, -2]]},
    "all around": {"polygon": [[-90, -80], [200, -70], [180, 190], [-60, 170]]},
    "one point, three times": {"polygon": [[7, 5]] * 3},
    "crossing itself": {"polygon": [[1, 1], [40, 30], [40, 2], [2, 30.5]]},
    "group": {"label": "cargroup"},
    "group of an own class": {"label": "polegroup"},
    "group of plates": {"label": "license plategroup"},
    "license plate": {"label": "license plate", "polygon": [[1, 2]]},
    "ignored": {"label": "out of roi"},
    "deleted": {"deleted": 1},
    "deleted, unknown and without points": {"label": "ufo", "deleted": 1, "polygon": []},
    "not deleted": {"deleted": 0, "verified": 1, "user": "a", "date": "b", "id": 4},
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_polygons_are_drawn_as_by_its_authors(kind: str, tmp_path: Path) -> None:
    below = {"label": "road", "polygon": [[0, 10], [60, 12], [60, 36], [0, 36]]}
    objects = [below, {"label": "rider", "polygon": TRIANGLE, **ODD[kind]}]
    path = write(tmp_path / "a.json", objects)
    np.testing.assert_array_equal(PolygonLabels(TRAIN_IDS)(path), drawn_by_its_authors(path))


GOOD = json.dumps(
    {"imgWidth": 9, "imgHeight": 5, "objects": [{"label": "sky", "polygon": TRIANGLE}]}
)
CAR = {"label": "car", "polygon": TRIANGLE}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_does_no_harm(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_bytes(GOOD.encode(encoding))
    assert PolygonLabels(TRAIN_IDS)(path).shape == (5, 9)
    assert "10" in convert_cityscapes_label(path)


BROKEN = {
    "empty": ("", "broken file: it is empty"),
    "no JSON": ("{", "broken file .*Copy it again"),
    "no text": (b"\xff\xfa\x00\x80\x81", "broken file .*Copy it again"),
    "endless brackets": ("[" * 100_000, "broken file .*Copy it again"),
    "a list": ("[]", "broken file .the whole: Input should be .*Copy it again"),
    "no size": ('{"objects": []}', "broken file .imgWidth: Field required"),
    "no objects": ('{"imgWidth": 3, "imgHeight": 4}', "broken file .objects: Field required"),
    "no points": (GOOD.replace("polygon", "points"), r"objects\.0\.polygon: Field required"),
    "no number": (GOOD.replace("50", '"x"'), r"objects\.0\.polygon\.1\.0: Input should be"),
    "not a number": (GOOD.replace("50", "NaN"), r"objects\.0\.polygon\.1\.0: Input should be"),
    "endless": (GOOD.replace("50", "-Infinity"), r"objects\.0\.polygon\.1\.0: Input should be"),
    "far away": (GOOD.replace("50", "1e300"), r"objects\.0\.polygon\.1\.0: Input should be"),
    **{
        f"size {side}": (GOOD.replace('th": 9', f'th": {side}'), message)
        for side, message in (
            ("0", "imgWidth: Input should be greater than 0"),
            ("-9", "imgWidth: Input should be greater than 0"),
            ("null", "imgWidth: Input should be a valid integer"),
            ("90000000000", "at most 100000000 pixels, got 90000000000x5. Correct imgWidth"),
        )
    },
    "one point": (
        GOOD.replace(json.dumps(TRIANGLE), "[[1, 2]]"),
        "got one of 1 .'sky'",
    ),
    "unknown": (GOOD.replace("sky", "ufo"), "unknown ones: 'ufo'. Call them as Cityscapes does"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_file_is_a_sentence_that_names_it(kind: str, tmp_path: Path) -> None:
    content, message = BROKEN[kind]
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=f"expected polygons.*a_gtFine_polygons.json.*{message}"):
        convert_cityscapes_label(path)
