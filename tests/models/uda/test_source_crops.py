"""A bank and its crops fit together, or the run ends before its first iteration.

Eleven crops of 12x10 pixels with four classes.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmseg.datasets import crop_store
from mmseg.models.uda.depthmetric import depth_histogram, source_crops
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.depthmetric.source_crops import load_source_crops
from mmseg.models.uda.settings import DACSSettings
from mmseg.system.errors import ConfigError

CROPS, CLASSES, SIZE = 11, 4, (10, 12)
COMMAND = (
    r"python run_seg\.py --config <this config> --dataset_name gta --source_preprocessed_path "
    r"'.*' --num 11"
)


def write_crop(folder: Path, index: int, label: np.ndarray, bgr: bool = False) -> None:
    for part, array in (("images", np.zeros((*label.shape, 3), np.uint8)), ("labels", label)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        stacked = np.stack([array] * 3, 2) if bgr and part == "labels" else array
        assert cv2.imwrite(str(folder / part / f"{index}.png"), stacked)


def write_run(folder: Path, seed: int) -> torch.Tensor:
    """Write crops and return their bank."""
    rng = np.random.default_rng(seed)
    histograms = []
    for index in range(CROPS):
        label = rng.choice([0, 1, 3, 255], SIZE).astype(np.uint8)
        write_crop(folder, index, label, bgr=index % 2 == 1)
        depth = torch.from_numpy(rng.integers(0, 256, SIZE))
        histograms.append(depth_histogram(torch.from_numpy(label), depth, CLASSES))
    return torch.stack(histograms)


@pytest.fixture
def settings(tmp_path: Path) -> DACSSettings:
    torch.save(write_run(tmp_path, 0), tmp_path / "gta_11_distribution.pth")
    return DACSSettings(
        dataset="gta",
        matrix_path=str(tmp_path / "gta_11_distribution.pth"),
        croped_images_path=str(tmp_path / "images"),
        croped_labels_path=str(tmp_path / "labels"),
        reweight_threshold=0.5,
        relabel_threshold=0.4,
    )


def test_bank_and_crops_of_one_run_are_taken(settings, tmp_path):
    """Colored crops, two crops more than rows and one exchanged crop do no harm."""
    bank, crops = load_source_crops(settings, CLASSES)
    assert len(bank) == CROPS
    assert crops.read(3)[1].shape == SIZE
    for index in (CROPS, CROPS + 1):
        write_crop(tmp_path, index, np.ones(SIZE, np.uint8))
    write_crop(tmp_path, CROPS - 1, np.ones(SIZE, np.uint8))  # among those that are compared
    load_source_crops(settings, CLASSES)


def test_bank_of_another_run_names_crop_class_numbers_and_command(settings, tmp_path):
    other = write_run(tmp_path / "other", 1)
    torch.save(other, tmp_path / "other.pth")
    label = cv2.imread(str(tmp_path / "labels/0.png"), 0)
    class_ = int((np.bincount(label[label < 4], minlength=4) != other[0].sum(1).numpy()).argmax())
    found, stated = int((label == class_).sum()), int(other[0, class_].sum())
    message = (
        rf"'{tmp_path}/other\.pth' to be the statistics of the crops in '{tmp_path}/labels', got "
        rf"those of others: crop 0 has {found} pixels of class {class_}, not {stated}. .*{COMMAND}"
    )
    with pytest.raises(ConfigError, match=message):
        load_source_crops(replace(settings, matrix_path=str(tmp_path / "other.pth")), CLASSES)


def test_bank_shifted_by_one_crop_is_noticed(settings):
    bank = torch.load(settings.matrix_path, weights_only=True)
    torch.save(bank.roll(1, 0), settings.matrix_path)
    with pytest.raises(ConfigError, match="got those of others"):
        load_source_crops(settings, CLASSES)


@pytest.mark.parametrize(
    ("value", "found"),
    [(float("nan"), "from nan to nan"), (float("inf"), "from 0 to inf"), (-2.0, "from -2 to")],
)
def test_bank_that_holds_no_counts_names_the_crop(settings, value, found):
    bank = torch.load(settings.matrix_path, weights_only=True)
    bank[7, 2, 9] = value
    torch.save(bank, settings.matrix_path)
    message = rf"expected numbers of pixels, got values {found}.*, the first wrong .* crop 7. "
    with pytest.raises(ConfigError, match=message + f".*{COMMAND}"):
        load_source_crops(settings, CLASSES)


def test_bank_without_crops_is_an_error(settings):
    torch.save(torch.zeros(0, CLASSES, 256), settings.matrix_path)
    with pytest.raises(ConfigError, match=r"statistics of at least one crop, got none\. .*run_seg"):
        load_source_crops(settings, CLASSES)


def test_bank_of_other_classes_names_both_numbers_and_the_command(settings):
    with pytest.raises(ConfigError, match=rf"expected 5 classes .* network, got 4\. .*{COMMAND}"):
        load_source_crops(settings, 5)


def test_missing_crop_names_the_command(settings, tmp_path):
    (tmp_path / "labels/6.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"1 of them, the first '6\.png'\. .*{COMMAND}"):
        load_source_crops(settings, CLASSES)


def test_crops_of_two_sizes_are_an_error(settings, tmp_path):
    label = np.zeros((SIZE[0], SIZE[1] + 3), np.uint8)
    label[:, : SIZE[1]] = cv2.imread(str(tmp_path / "labels/10.png"), 0)
    label[:, SIZE[1] :] = 255
    write_crop(tmp_path, 10, label)
    with pytest.raises(
        ConfigError, match=r"of one size .*, got 12x10 \(crop 0\), 15x10 \(crop 10\)"
    ):
        load_source_crops(settings, CLASSES)


def test_damaged_or_strange_crop_is_named(settings, tmp_path):
    """Of those that are compared; the others when they are used."""
    write_crop(tmp_path, 0, np.full(SIZE, 9, np.uint8))
    with pytest.raises(ValueError, match=r"0…3 or 255 .* in the label '.*labels/0\.png', got 9. "):
        load_source_crops(settings, CLASSES)
    (tmp_path / "labels/0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"'.*labels/0\.png', got a broken file: it is empty"):
        load_source_crops(settings, CLASSES)


def test_only_a_few_crops_are_read(settings, monkeypatch):
    read = []
    original = crop_store.CropStore.read
    monkeypatch.setattr(
        crop_store.CropStore, "read", lambda self, i: (read.append(i), original(self, i))[1]
    )
    load_source_crops(settings, CLASSES)
    assert len(read) == crop_store.COMPARED_CROPS
    assert read[0] == 0
    assert read[-1] == CROPS - 1


def rows_file(settings: DACSSettings) -> Path:
    return Path(str(settings.matrix_path)).with_suffix(".rows.pth")


def same_bank(one: Bank, other: Bank) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def test_mapped_rows_are_those_of_the_bank_and_made_once(settings, monkeypatch):
    expected, _ = load_source_crops(settings, CLASSES)
    assert not rows_file(settings).exists()
    mapped = replace(settings, matrix_mmap=True)
    assert same_bank(load_source_crops(mapped, CLASSES)[0], expected)
    monkeypatch.setattr(source_crops, "read_rows", lambda *_: pytest.fail("read again"))
    again, _ = load_source_crops(mapped, CLASSES)
    assert same_bank(again, expected)
    maps = Path("/proc/self/maps")  # where the system has them
    assert not maps.exists() or str(rows_file(settings)) in maps.read_text()


@pytest.mark.parametrize("change", ["bank", "rows", "other rows"])
def test_mapped_rows_are_made_anew_when_they_are_not_those_of_the_bank(settings, change):
    mapped = replace(settings, matrix_mmap=True)
    load_source_crops(mapped, CLASSES)
    if change == "bank":
        bank = torch.load(settings.matrix_path)
        bank[5] = 0  # one that is not compared
        torch.save(bank, settings.matrix_path)
    elif change == "rows":
        rows_file(settings).write_bytes(rows_file(settings).read_bytes()[:-200])
    else:
        torch.save({"bank": "of others", "rows": {}}, rows_file(settings))
    expected, _ = load_source_crops(settings, CLASSES)
    assert same_bank(load_source_crops(mapped, CLASSES)[0], expected)


def test_mapped_rows_of_a_missing_bank_name_the_command(settings):
    gone = replace(settings, matrix_mmap=True, matrix_path="nowhere/gta_11_distribution.pth")
    with pytest.raises(FileNotFoundError, match=r"Create them with: python run_seg\.py"):
        load_source_crops(gone, CLASSES)


def test_bank_of_an_old_torch_is_read(settings):
    """Its files cannot be mapped."""
    expected, _ = load_source_crops(settings, CLASSES)
    bank = torch.load(settings.matrix_path)
    torch.save(bank, settings.matrix_path, _use_new_zipfile_serialization=False)
    for mmap in (False, True):
        found, _ = load_source_crops(replace(settings, matrix_mmap=mmap), CLASSES)
        assert same_bank(found, expected)
