"""Samples of the shipped configs against golden I, with files of the real sizes."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_png

from mmseg.datasets import CityscapesDataset, build_dataset


def test_margins_become_a_mask_of_the_file_s_size(golden, tmp_path):
    """Golden I: margins [30, 240, 30, 30] of 1024x2048, whole and after resizing to 512x256."""
    facts = json.loads((golden / "I/I.json").read_text())
    name = "ulm/a_leftImg8bit.png"
    write_png(tmp_path / "img" / name, np.zeros((1024, 2048, 3), np.uint8))
    write_png(
        tmp_path / "ann" / name.replace("leftImg8bit", "gtFine_labelTrainIds"),
        np.zeros((1024, 2048), np.uint8),
    )
    steps = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "Resize", "img_scale": (512, 256)},
    ]
    dataset = CityscapesDataset(
        steps, str(tmp_path / "img"), str(tmp_path / "ann"), crop_pseudo_margins=[30, 240, 30, 30]
    )
    loaded = dataset.pipeline.steps[0](dataset._describe(0))
    resized = dataset.sample(0, np.random.default_rng(0))
    whole, small = facts["pre_pipeline_vpm"], facts["vpm_after_resize_512x256"]
    for results, record, box in (
        (loaded, whole, whole["bbox_ones"]),
        (resized, small, small["rows"] + small["cols"]),
    ):
        mask = results["valid_pseudo_mask"]
        rows, columns = np.nonzero(mask)
        assert list(mask.shape) == record["shape"]
        assert (str(mask.dtype), int(mask.sum())) == (record["dtype"], record["sum"])
        assert [rows.min(), rows.max(), columns.min(), columns.max()] == box
        assert results["seg_fields"] == record["seg_fields"]


CONFIGS = {
    "configs/cdda/gta2cs_cdda_daformer.py": ("gta", "images/{}.png", (1052, 1914)),
    "configs/cdda/synthia2cs_cdda_daformer.py": ("synthia", "RGB/{}.png", (760, 1280)),
    "configs/mic/gtaHR2csHR_mic_hrda.py": ("gta", "images/{}.png", (1052, 1914)),
}


CITY = "aachen/aachen_00000{}_000019"


def _write_full_size(root: Path, name: str, pattern: str, size: tuple[int, int]) -> None:
    """Two source and two target images of the real sizes, with the names of golden I."""
    label = np.arange(size[0] * size[1]).reshape(size) // 997 % 19
    statistics = []
    for i in ("00001", "00002") if name == "gta" else ("0000000", "0000001"):
        image = root / name / pattern.format(i)
        write_png(image, np.full((*size, 3), 90, np.uint8))
        folder = root / name / ("labels" if name == "gta" else "GT/LABELS")
        write_png(folder / f"{i}_labelTrainIds.png", label.astype(np.uint8))
        write_png(root / name / f"depth_any/{i}.png", np.full(size, 40, np.uint8))
        counts = np.bincount(label.ravel())
        statistics.append({str(c): int(n) for c, n in enumerate(counts)})
        statistics[-1]["file"] = f"{i}_labelTrainIds.png"
    by_class = {str(c): [[s["file"], s[str(c)]] for s in statistics] for c in range(19)}
    (root / name / "sample_class_stats.json").write_text(json.dumps(statistics))
    (root / name / "samples_with_class.json").write_text(json.dumps(by_class))
    city = root / "cityscapes"
    for i in range(2):
        stem = CITY.format(i)
        write_png(
            city / f"leftImg8bit/train/{stem}_leftImg8bit.png", np.zeros((1024, 2048, 3), "u1")
        )
        write_png(
            city / f"gtFine/train/{stem}_gtFine_labelTrainIds.png", np.zeros((1024, 2048), "u1")
        )
        write_png(city / f"depth_any/train/{stem}_depth.png", np.zeros((1024, 2048), "u1"))


@pytest.mark.parametrize("config", list(CONFIGS))
def test_samples_of_the_shipped_configs_are_as_recorded(golden, tmp_path, config):
    """Golden I with files of the real sizes: names, shapes, types and meta data."""
    _write_full_size(tmp_path, *CONFIGS[config])
    data = json.loads((golden / "B/config_dump.json").read_text())[config]["data"]
    relocated = json.loads(json.dumps(data["train"]).replace('"data/', f'"{tmp_path}/'))
    dataset = build_dataset(relocated)
    recorded = json.loads((golden / "I/I.json").read_text())
    facts = recorded.get(config) or recorded["configs/cdda/gtaHR2csHR_cdda_mic.py"]
    assert len(dataset) == facts["len"]
    assert dataset.source.img_infos == facts["img_infos_source"]
    assert dataset.target.img_infos == facts["img_infos_target"]
    sample = dataset.sample(0, np.random.default_rng(0))
    assert set(sample) == {*facts["keys"], "depth", "target_depth"}
    for key, record in facts["sample"].items():
        if not key.endswith("img_metas"):
            assert list(sample[key].shape) == record["shape"]
            assert str(sample[key].dtype) == record["dtype"]
            continue
        metas, values = sample[key], record["values"]
        assert set(metas) == set(record["keys"]) - {"dep"}
        for name in ("ori_shape", "img_shape", "pad_shape"):
            assert list(metas[name]) == values[name]
        expected = np.array(values["scale_factor"]["values"], np.float32)
        np.testing.assert_array_equal(metas["scale_factor"], expected)
        for name in ("mean", "std"):
            expected = np.array(values["img_norm_cfg"][name]["values"], np.float32)
            np.testing.assert_array_equal(metas["img_norm_cfg"][name], expected)
        depth = sample["depth" if key == "img_metas" else "target_depth"]
        assert [1, *depth.shape] == values["dep"]["shape"]


def test_test_sample_is_as_recorded(golden, tmp_path):
    config = "configs/cdda/gta2cs_cdda_daformer.py"
    _write_full_size(tmp_path, *CONFIGS[config])
    data = json.loads((golden / "B/config_dump.json").read_text())[config]["data"]["val"]
    text = json.dumps(data).replace('"data/', f'"{tmp_path}/').replace("/val", "/train")
    sample = build_dataset(json.loads(text), test_mode=True)[0]
    facts = json.loads((golden / "I/I.json").read_text())["test_pipeline"]
    assert [list(i.shape) for i in sample["img"]] == [r["shape"] for r in facts["img"]]
    (metas,), (record,) = sample["img_metas"], facts["metas"]
    assert set(metas) == set(record["keys"])
    for name in ("ori_filename", "flip", "flip_direction"):
        assert metas[name] == record["values"][name]
    for name in ("ori_shape", "img_shape", "pad_shape"):
        assert list(metas[name]) == record["values"][name]
    expected = np.array(record["values"]["scale_factor"]["values"], np.float32)
    np.testing.assert_array_equal(metas["scale_factor"], expected)
