"""Class statistics that do not fit the labels are noticed before the first sample."""

import json
import os
import shutil

import numpy as np
import pytest
from tiny_data import Files, write_png

from mmseg.datasets import build_dataset
from mmseg.datasets.class_statistics import images_of
from mmseg.datasets.depth.fit import training_warnings

SAMPLING = {"min_pixels": 10, "class_temp": 0.1, "min_crop_ratio": 0.5}
REMAKE = r"Make the statistics with: python tools/convert_datasets/gta.py .*/gta --nproc 8"
LABEL = "labels/00003_labelTrainIds.png"


def build(files: Files, **source):
    pairs = files.pairs(source=files.source(**source), rare_class_sampling=SAMPLING)
    return build_dataset(pairs)


def statistics(files: Files) -> list[dict]:
    return json.loads((files.gta / "sample_class_stats.json").read_text())


def change_label(files: Files) -> None:
    write_png(files.gta / LABEL, np.full((30, 46), 8, np.uint8))


def add_image(files: Files) -> None:
    for name in ("images/00003.png", LABEL, "depth_any/00003.png"):
        path = files.gta / name
        shutil.copy(path, path.with_name(path.name.replace("00003", "00009")))


def exchange_one_file(files: Files) -> None:
    kept = (files.gta / "samples_with_class.json").read_text()
    files.write_statistics([{**entry, "2": 1} for entry in statistics(files)])
    (files.gta / "samples_with_class.json").write_text(kept)


CHANGES = {
    "changed": (change_label, rf"got 384 pixels of class 0 for '.*{LABEL}', which has 0: .*later"),
    "added": (add_image, "list all 5 labels .*, got 1 that they lack, such as '00009_lab.* older"),
    "exchanged": (exchange_one_file, "got 4 and .* pixels of class 2"),
    "nothing in it": (
        lambda files: files.write_statistics([{"file": e["file"]} for e in statistics(files)]),
        "got an empty list",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_statistics_older_than_the_labels_are_an_error(files, kind) -> None:
    build(files)
    change, message = CHANGES[kind]
    change(files)
    with pytest.raises(ValueError, match=rf"class.*json'.*{message}.*{REMAKE}"):
        build(files)


def test_statistics_that_never_end_are_refused(files) -> None:
    path = files.gta / "samples_with_class.json"
    path.unlink()
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes with names")
    os.mkfifo(path)
    with pytest.raises(OSError, match="statistics .*samples_with_class.json', got a named pipe"):
        build(files)


def test_copied_data_fits_its_statistics(files, tmp_path) -> None:
    """Whatever became of the times of its files and of the folder's name."""
    moved = Files(tmp_path / "elsewhere")
    shutil.copytree(files.gta, moved.gta, copy_function=shutil.copyfile)
    moved.cityscapes = files.cityscapes
    os.utime(moved.gta / "sample_class_stats.json", (1, 1))
    assert build(moved).rare_class_sampling.warnings == []


def test_images_that_were_removed_are_named_but_a_list_may_leave_them_out(files) -> None:
    (files.gta / "some.txt").write_text("00000\n00001\n00002\n")
    entries = [
        {"0": 99, "file": e["file"]} if "00003" in e["file"] else e for e in statistics(files)
    ]
    files.write_statistics(entries)
    assert build(files, split="some.txt").rare_class_sampling.warnings == []
    (files.gta / "images/00003.png").unlink()
    (said,) = training_warnings(None, build(files))
    assert "count 1 labels without an image" in said
    assert "gta/labels/00003_labelTrainIds.png'. If they were removed" in said


def test_images_of_one_base_name_in_two_folders_are_two_images(files) -> None:
    """The same files in folders `a` and `b`, where the labels of `b` hold another class."""
    entries = statistics(files)
    for part in ("images", "labels", "depth_any"):
        inside = sorted((files.gta / part).iterdir())
        for folder in "ab":
            (files.gta / part / folder).mkdir()
            for file in inside:
                shutil.copy(file, files.gta / part / folder)
        for file in inside:
            file.unlink()
    for file in (files.gta / "labels/b").iterdir():
        write_png(file, np.full((30, 46), 11, np.uint8))
    two = [
        {
            **(entry if folder == "a" else {"11": 1380}),
            "file": entry["file"].replace("/0", f"/{folder}/0"),
        }
        for folder in "ba"
        for entry in entries
    ]
    files.write_statistics(two)
    candidates = build(files).rare_class_sampling.candidates
    assert candidates[11] == [4, 5, 6, 7]
    assert all(index < 4 for chosen in candidates if chosen != 11 for index in candidates[chosen])
    files.write_statistics([{**e, "file": e["file"].replace("/", "\\")} for e in two])  # of Windows
    assert build(files).rare_class_sampling.candidates == candidates


@pytest.mark.parametrize(
    ("listed", "labels", "expected"),
    [
        (["d/a/1.png", "d/b/1.png"], ["a/1.png", "b/1.png"], [0, 1]),
        (["a/1.png", "b/1.png"], ["b/1.png", "a/1.png"], [1, 0]),
        (["d/1.png", "d/b/1.png"], ["1.png"], [0, None]),
        (["d/1.png", "d/b/1.png"], ["b/1.png", "1.png"], [1, 0]),
        (["d/a/1.png"], ["b/1.png"], [None]),
        (["x/1.png", "y/2.png", "y/3.png"], ["1.png", "2.png", "3.png"], [0, 1, 2]),
        (["1.png", "2.png"], ["a/1.png", "b/2.png"], [0, 1]),
        (["1.png"], ["a/1.png", "b/1.png"], [None]),
        (["d/\udcc3\udcbc.png", "d/ä.png"], ["ü.png", "\udcc3\udca4.png"], [0, 1]),
        ([r"C:\d\a\1.png", r"C:\d\b\1.png"], ["a/1.png", "b/1.png"], [0, 1]),
    ],
)
def test_listed_paths_belong_to_labels_by_folder_and_name(listed, labels, expected) -> None:
    found = images_of(listed, labels)
    assert [found.get(path) for path in listed] == expected
