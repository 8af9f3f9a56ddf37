"""Converters against recorded files."""

import json
import runpy
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from demo_project import copy_folder
from PIL import Image

from mmseg.preprocessing.label_conversion import (
    convert_cityscapes,
    convert_gta,
    convert_synthia,
)

CONVERTERS = {"gta": convert_gta, "synthia": convert_synthia, "cityscapes": convert_cityscapes}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw(golden, tmp_path, monkeypatch):
    """The recorded inputs without their outputs, in the current directory."""
    for name in CONVERTERS:
        copy_folder(golden / "G" / name, tmp_path / name)
        for made in (
            *(tmp_path / name).glob("*.json"),
            *(tmp_path / name).glob("*.txt"),
            *(tmp_path / name).rglob("*_labelTrainIds.png"),
        ):
            made.unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", list(CONVERTERS))
@pytest.mark.parametrize("processes", [1, 2])
def test_converter_writes_the_recorded_files(golden, raw, name, processes):
    """Labels and statistics exact; the order of entries was the file system's."""
    CONVERTERS[name](name, processes=processes)
    recorded = json.loads((golden / "G/files.json").read_text())["files"]
    made = [f.relative_to(raw).as_posix() for f in (raw / name).rglob("*") if f.is_file()]
    assert sorted(made) == sorted(f for f in recorded if f.startswith(f"{name}/"))
    for file in (f for f in made if f.endswith("_labelTrainIds.png")):
        with Image.open(raw / file) as got, Image.open(golden / "G" / file) as expected:
            assert got.mode == expected.mode
            np.testing.assert_array_equal(np.array(got), np.array(expected))
    for file in ("sample_class_stats", "sample_class_stats_dict", "samples_with_class"):
        got, expected = (
            json.loads((folder / name / f"{file}.json").read_text())
            for folder in (raw, golden / "G")
        )
        assert _ordered(got) == _ordered(expected)
    for file in (f for f in made if f.endswith(".txt")):
        expected = (golden / "G" / file).read_text().splitlines()
        assert (raw / file).read_text().splitlines() == sorted(expected)


def _ordered(content):
    if isinstance(content, list):
        return sorted(content, key=str)
    return {k: sorted(v, key=str) if isinstance(v, list) else v for k, v in content.items()}


def test_statistics_count_the_pixels_of_the_written_labels(raw):
    """Against numpy on the written files."""
    for entry in convert_gta("gta", processes=1):
        with Image.open(entry["file"]) as image:
            values, counts = np.unique(np.array(image), return_counts=True)
        counted = {str(v): int(n) for v, n in zip(values, counts, strict=True) if v != 255}
        assert {**counted, "file": entry["file"]} == entry


def test_statistics_go_where_out_dir_says(raw):
    convert_cityscapes("cityscapes", out_dir="elsewhere", processes=1)
    assert sorted(f.name for f in Path("elsewhere").iterdir()) == [
        "sample_class_stats.json",
        "sample_class_stats_dict.json",
        "samples_with_class.json",
        "test.txt",
        "train.txt",
        "val.txt",
    ]
    assert not list(Path("cityscapes").glob("*.json"))


def test_second_conversion_ignores_the_files_of_the_first(raw):
    first = convert_gta("gta", processes=1)
    assert convert_gta("gta", processes=1) == first


@pytest.mark.parametrize("name", list(CONVERTERS))
def test_missing_or_empty_label_folder_is_an_error(raw, name):
    with pytest.raises(FileNotFoundError, match="label folder 'nowhere/.*got no such folder"):
        CONVERTERS[name]("nowhere")
    Path("gta/empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected label files .* 'gta/empty', got none"):
        CONVERTERS[name]("gta", gt_dir="empty")


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ('{"imgHeight": 3}', "broken file .imgWidth"),
        (
            '{"imgHeight": 3, "imgWidth": 4, "objects": [{"label": "ufo", "polygon": [[0, 0]]}]}',
            "got unknown ones: 'ufo'. Call them as Cityscapes does",
        ),
    ],
)
@pytest.mark.parametrize("processes", [1, 2])
def test_broken_polygons_are_an_error_that_names_the_file(raw, polygons, message, processes):
    folder = Path("cityscapes/gtFine/train/aachen")
    (folder / "aachen_000000_000019_gtFine_polygons.json").write_text(polygons)
    with pytest.raises(ValueError, match=f"aachen_000000_000019_gtFine_polygons.json.*{message}"):
        convert_cityscapes("cityscapes", processes=processes)


@pytest.mark.parametrize(
    ("name", "file", "mode"),
    [("gta", "gta/labels/00001.png", "L"), ("synthia", "synthia/GT/LABELS/0000001.png", "RGB")],
)
def test_label_that_is_a_jpeg_inside_is_refused_by_name(raw, name, file, mode):
    Image.new(mode, (60, 40), 7).save(file, format="JPEG")
    with pytest.raises(ValueError, match=rf"lossless format\) at '{file}', got a JPEG"):
        CONVERTERS[name](name, processes=1)


@pytest.mark.parametrize("name", ["gta", "synthia", "cityscapes"])
def test_conversion_without_a_single_labeled_pixel_is_an_error(raw, name):
    """As of colored pictures, whose values are no ids."""
    for file in [*Path("gta").rglob("*[0-9].png"), *Path("synthia").rglob("*[0-9].png")]:
        mode = "L" if "gta" in file.parts else "RGB"
        Image.new(mode, (5, 4), {"L": 200, "RGB": (128, 64, 128)}[mode]).save(file)
    for file in Path("cityscapes").rglob("*.json"):
        file.write_text('{"imgHeight": 3, "imgWidth": 4, "objects": []}')
    with pytest.raises(ValueError, match=r"got none in all \d files: .*, as in '.*TrainIds.png'"):
        CONVERTERS[name](name, processes=1)
    assert not Path(name, "samples_with_class.json").exists()
    assert not Path(name, "train.txt").exists()


@pytest.mark.parametrize(("split", "is_right"), [("val", False), ("other", False), ("test", True)])
def test_only_test_images_may_have_no_class_at_all(raw, split, is_right):
    """Their published polygons say nothing but what is ignored."""
    shutil.rmtree("cityscapes/gtFine")
    file = Path(f"cityscapes/gtFine/{split}/ulm/ulm_000000_000019_gtFine_polygons.json")
    file.parent.mkdir(parents=True)
    file.write_text('{"imgHeight": 3, "imgWidth": 4, "objects": []}')
    with nullcontext() if is_right else pytest.raises(ValueError, match="every pixel is ignored"):
        assert convert_cityscapes("cityscapes", processes=1) == []


def test_synthia_label_with_one_channel_is_an_error(raw):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save("synthia/GT/LABELS/0000001.png")
    with pytest.raises(ValueError, match="three-channel PNG .*0000001.png', got one channel"):
        convert_synthia("synthia", processes=1)


@pytest.mark.parametrize("name", list(CONVERTERS))
def test_command_converts_or_says_what_is_missing(raw, name, monkeypatch, capsys):
    command = str(ROOT / f"tools/convert_datasets/{name}.py")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [command, name, "--nproc", "1", "-o", "out"])
    runpy.run_path(command, run_name="__main__")
    assert "100%" in capsys.readouterr().err
    assert Path("out/samples_with_class.json").is_file()
    monkeypatch.setattr(sys, "argv", [command, "nowhere"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(command, run_name="__main__")
    assert str(ended.value.code).startswith(
        "FileNotFoundError: expected the label folder 'nowhere/"
    )


def test_command_runs_from_any_folder_without_installation(raw):
    command = [sys.executable, str(ROOT / "tools/convert_datasets/gta.py"), "gta", "--nproc", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path("gta/sample_class_stats.json").is_file()


def test_statistics_of_a_data_set_without_training_images_are_not_written(raw):
    shutil.rmtree("cityscapes/gtFine/train")
    assert convert_cityscapes("cityscapes", processes=1) == []
    assert not Path("cityscapes/sample_class_stats.json").exists()
