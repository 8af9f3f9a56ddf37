"""Which image becomes which map; no image is ever replaced by one."""

from pathlib import Path

import pytest

from mmseg.preprocessing.depth_maps.jobs import find_jobs


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*inputs: str, layout=None, is_from_maps=False, say=lambda line: None) -> dict[str, str]:
    """Return image -> map."""
    jobs = find_jobs([Path(path) for path in inputs], Path("out"), layout, is_from_maps, say)
    assert [job.output for job in jobs] == sorted(job.output for job in jobs)
    return {job.image.as_posix(): job.output.as_posix() for job in jobs}


CITIES = ("train/aachen/a_1_leftImg8bit.png", "train/bonn/b_2_leftImg8bit.png")


@pytest.mark.parametrize("layout", [None, "cityscapes"])
def test_cityscapes_maps_are_called_depth_in_the_folder_of_their_city(here, layout):
    touch(*CITIES)
    assert found("train", layout=layout) == {
        CITIES[0]: "out/aachen/a_1_depth.png",
        CITIES[1]: "out/bonn/b_2_depth.png",
    }


@pytest.mark.parametrize("layout", [None, "cityscapes"])
def test_single_cityscapes_image_keeps_the_folder_of_its_city(here, layout, monkeypatch):
    touch(*CITIES)
    assert found(CITIES[1], layout=layout) == {CITIES[1]: "out/bonn/b_2_depth.png"}
    monkeypatch.chdir("train/bonn")
    name = "b_2_leftImg8bit.png"
    assert found(name, layout=layout) == {name: "out/bonn/b_2_depth.png"}


@pytest.mark.parametrize("layout", [None, "gta", "synthia"])
def test_other_layouts_keep_the_relative_name_with_any_image_suffix(here, layout):
    touch("images/00001.png", "images/x/00002.JPG", "images/notes.txt", "images/.hidden.png")
    expected = {"images/00001.png": "out/00001.png", "images/x/00002.JPG": "out/x/00002.png"}
    assert found("images", layout=layout) == expected
    flat = {"images/00001.png": "out/00001.png", "images/x/00002.JPG": "out/00002.png"}
    assert found("images", layout="flat") == flat


def test_names_are_those_that_the_data_sets_read(here):
    """Every dataset of the project finds its map, also where its images are not PNG files."""
    from mmseg.datasets import ACDCDataset, CityscapesDataset, CustomDataset, GTADataset

    cases = {
        "gta/1.png": (GTADataset, None),
        "acdc/fog/x_rgb_anon.png": (ACDCDataset, None),
        "own/a.b/2.jpeg": (CustomDataset, None),
        "city/ulm/u_leftImg8bit.jpg": (CityscapesDataset, "cityscapes"),
    }
    for image, (dataset, layout) in cases.items():
        touch(image)
        root, _, name = image.partition("/")
        assert found(root, layout=layout) == {image: f"out/{dataset.depth_name(name)}"}


def test_layout_is_said_when_it_was_recognized(here):
    touch("images/00001.png", *CITIES)
    said: list[str] = []
    found("train", say=said.append)
    assert said == [
        "Layout cityscapes, because the files are called *_leftImg8bit.* (--layout chooses "
        "another)."
    ]
    said.clear()
    found("images", say=said.append)
    assert said[0].startswith("Names are kept")
    said.clear()
    found("train", layout="gta", say=said.append)
    assert not said


def test_images_with_other_names_are_left_out_of_cityscapes_and_said(here):
    touch(*CITIES, "train/aachen/a_1_gtFine_color.png")
    said: list[str] = []
    assert set(found("train", layout="cityscapes", say=said.append)) == set(CITIES)
    assert said == ["Left out, because they are not called *_leftImg8bit.*: 1 of 3."]
    with pytest.raises(ValueError, match=r"all or none .* got 2 of 3; give --layout cityscapes"):
        found("train")


def test_maps_that_exist_are_found_by_their_own_suffixes_and_endings(here):
    touch("d/ulm/u_1_disparity.png", "d/ulm/u_2_leftImg8bit.npy", "d/ulm/u_3_disparity.jpg")
    expected = {
        "d/ulm/u_1_disparity.png": "out/ulm/u_1_depth.png",
        "d/ulm/u_2_leftImg8bit.npy": "out/ulm/u_2_depth.png",
    }
    assert found("d", is_from_maps=True) == expected
    touch("e/disparity_4.tif", "e/depth_preview.png")
    assert found("e", is_from_maps=True) == {"e/disparity_4.tif": "out/disparity_4.png"}


def test_same_image_given_twice_is_done_once(here):
    touch("images/1.png")
    again = str(here / "images")
    assert set(found("images", "images/1.png", again, "./images").values()) == {"out/1.png"}


def test_maps_inside_the_images_folder_are_not_taken_for_images(here):
    touch("out/images/2.png", "out/3.png", "1.png", "also_out/4.png")
    expected = {"1.png": "out/1.png", "also_out/4.png": "out/also_out/4.png"}
    assert found(".") == expected
    Path("link").symlink_to("out")
    assert found(".") == expected
    assert found("out/images") == {"out/images/2.png": "out/2.png"}  # a folder above is no danger


@pytest.mark.parametrize(
    ("inputs", "layout", "message"),
    [
        (["a", "b"], None, r"one image per map, got 'a/1.png' and 'b/1.png' for 'out/1.png'; "),
        (
            ["a", "b"],
            "flat",
            r"one image per map, got 'a/1.png' and 'b/1.png' for 'out/1.png'; ",
        ),
        (["c"], None, r"one image per map, got 'c/2.(jpg|png)' and 'c/2.(jpg|png)' for"),
    ],
)
def test_two_images_for_one_map_are_an_error(here, inputs, layout, message):
    touch("a/1.png", "b/1.png", "c/2.png", "c/2.jpg")
    with pytest.raises(ValueError, match=message):
        found(*inputs, layout=layout)


def test_map_never_takes_the_place_of_an_image(here):
    """By its own name, through a link to the folder, and as what an image is a link to."""
    touch("out/1.png")
    message = r"expected maps beside the images, got 'out/1.png', which is itself an image"
    for given in ("out", "out/1.png"):
        with pytest.raises(ValueError, match=message):
            found(given)
    Path("linked").symlink_to("out")
    with pytest.raises(ValueError, match=message):
        found("linked")
    touch("images/other.png")
    Path("images/1.png").symlink_to(here / "out/1.png")
    with pytest.raises(ValueError, match=message):
        found("images")


def test_maps_among_the_images_are_refused_because_they_would_be_images_next_time(here):
    touch("out/1.jpg")
    with pytest.raises(ValueError, match=r"expected --out apart from the images, got 'out' for"):
        found("out")
    touch("out/sub/sub/2.jpg")  # out/sub/2.png would be below out/sub
    with pytest.raises(ValueError, match=r"expected --out apart from the images, got 'out' for"):
        found("out/sub")


@pytest.mark.parametrize(
    ("given", "layout", "message"),
    [
        ("nowhere", None, r"expected a folder or a file at 'nowhere', got nothing there"),
        (
            "empty",
            None,
            r"expected files \* \(.png, .*\) in 'empty', got none; check the folder",
        ),
        ("empty/a.txt", None, r"expected a file as .png, .*, got 'empty/a.txt'"),
        ("images", "cityscapes", r"\*_leftImg8bit \(.*got none; .* and --layout"),
    ],
)
def test_nothing_to_do_is_an_error_that_says_where_was_looked(here, given, layout, message):
    touch("images/1.png", "empty/a.txt")
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        found(given, layout=layout)


def test_city_folder_is_found_from_within_another_one(here, monkeypatch):
    """`..` is no name of a city: a map would lie beside --out."""
    touch(*CITIES, "train/bonn/more/c.txt")
    monkeypatch.chdir("train/bonn/more")
    image = "../b_2_leftImg8bit.png"
    assert found("..") == {image: "out/bonn/b_2_depth.png"}
    assert found(image) == {image: "out/bonn/b_2_depth.png"}


def test_link_to_a_folder_around_it_is_not_followed(here):
    touch("images/1.png", "elsewhere/2.png")
    Path("images/loop").symlink_to(here / "images")
    Path("images/other").symlink_to(here / "elsewhere")
    assert set(found("images").values()) == {"out/1.png", "out/other/2.png"}
