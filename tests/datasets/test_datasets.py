"""Index of files, samples, errors and formatted predictions of the datasets."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_data import make_pipeline_test, train_pipeline, write_png

from mmseg.datasets import CityscapesDataset, SynthiaDataset, build_dataset
from mmseg.datasets.labels import (
    id_to_train_id,
)


@pytest.mark.parametrize(
    ("kind", "image", "label", "depth"),
    [
        ("GTADataset", "a.png", "a_labelTrainIds.png", "a.png"),
        ("SynthiaDataset", "a.png", "a_labelTrainIds.png", "a.png"),
        (
            "CityscapesDataset",
            "ulm/a_leftImg8bit.png",
            "ulm/a_gtFine_labelTrainIds.png",
            "ulm/a_depth.png",
        ),
        ("ACDCDataset", "fog/a_rgb_anon.png", "fog/a_gt_labelTrainIds.png", "fog/a_rgb_anon.png"),
        ("DarkZurichDataset", "a_rgb_anon.png", "a_gt_labelTrainIds.png", "a_rgb_anon.png"),
    ],
)
def test_image_label_and_depth_belong_together_by_name(tmp_path, kind, image, label, depth):
    rng = np.random.default_rng(3)
    write_png(tmp_path / "img" / image, rng.integers(0, 256, (30, 46, 3), np.uint8))
    write_png(tmp_path / "ann" / label, np.full((30, 46), 13, np.uint8))
    write_png(tmp_path / "dep" / depth, np.zeros((30, 46), np.uint8))
    dataset = build_dataset(
        {
            "type": kind,
            "data_root": str(tmp_path),
            "img_dir": "img",
            "ann_dir": "ann",
            "dep_dir": str(tmp_path / "dep"),
            "pipeline": train_pipeline(),
        }
    )
    assert dataset.img_infos == [{"filename": image, "ann": {"seg_map": label}}]
    sample = dataset[0]
    assert (sample["gt_semantic_seg"] == 13).all()
    assert (sample["depth"] == 255).all()  # stored 0 is bin 255


def test_train_sample_has_the_agreed_shapes_and_meta(files):
    sample = build_dataset(files.source())[1]
    shapes = {k: (tuple(v.shape), v.dtype) for k, v in sample.items() if k != "img_metas"}
    assert shapes == {
        "img": ((3, 18, 22), torch.float32),
        "gt_semantic_seg": ((1, 18, 22), torch.int64),
        "depth": ((18, 22), torch.float32),
    }
    metas = sample["img_metas"]
    assert metas["ori_filename"] == "00001.png"
    assert metas["filename"] == str(files.gta / "images/00001.png")
    assert (metas["ori_shape"], metas["img_shape"]) == ((30, 46, 3), (18, 22, 3))
    assert set(metas["img_norm_cfg"]) == {"mean", "std", "to_rgb"}


def test_pixels_of_a_sample_are_those_of_its_files(files):
    """Without resizing, the crop is a window of the file, mirrored or not."""
    dataset = build_dataset(files.source())
    for seed in range(6):
        sample = dataset.sample(2, np.random.default_rng(seed))
        norm = sample["img_metas"]["img_norm_cfg"]
        rgb = (sample["img"].permute(1, 2, 0).numpy() * norm["std"] + norm["mean"]).round()
        if sample["img_metas"]["flip"]:
            rgb = rgb[:, ::-1]
        image = cv2.imread(str(files.gta / "images/00002.png"))[..., ::-1]
        windows = np.lib.stride_tricks.sliding_window_view(image, (18, 22, 3))[..., 0, :, :, :]
        assert (windows == rgb).all(axis=(-1, -2, -3)).sum() == 1


def test_sample_is_a_function_of_its_generator(files):
    dataset = build_dataset(files.source())
    first, again = (dataset.sample(0, np.random.default_rng(9)) for _ in range(2))
    other = dataset.sample(0, np.random.default_rng(10))
    assert torch.equal(first["img"], again["img"])
    assert not torch.equal(first["img"], other["img"])
    drawn = dataset.sampler(0)(np.random.default_rng(9))
    assert torch.equal(first["img"], drawn["img"])


def test_depth_is_optional(files):
    assert "depth" not in build_dataset(files.source(dep_dir=None))[0]
    assert "target_depth" not in build_dataset(files.pairs(target=files.target(dep_dir=None)))[0]


def test_test_mode_needs_neither_labels_nor_depth(files):
    shutil.rmtree(files.cityscapes / "gtFine")
    shutil.rmtree(files.cityscapes / "depth_any")
    dataset = build_dataset(files.target(pipeline=make_pipeline_test()), test_mode=True)
    sample = dataset[0]
    assert set(sample) == {"img", "img_metas"}
    assert tuple(sample["img"][0].shape) == (3, 30, 46)
    with pytest.raises(FileNotFoundError, match="convert_datasets/cityscapes.py"):
        dataset.gt_label(0)


def test_split_file_selects_images(files):
    (files.gta / "some.txt").write_text("00003\n00001\n\n")
    dataset = build_dataset(files.source(split="some.txt"))
    assert [info["filename"] for info in dataset.img_infos] == ["00001.png", "00003.png"]


def test_label_some_rows_short_is_filled_with_ignore(tmp_path):
    """As a few labels of GTA are: 298 of 300 rows, the last two become 255."""
    write_png(tmp_path / "images/0.png", np.zeros((300, 200, 3), np.uint8))
    write_png(tmp_path / "labels/0_labelTrainIds.png", np.full((298, 200), 7, np.uint8))
    steps = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
    config = {
        "type": "GTADataset",
        "data_root": str(tmp_path),
        "img_dir": "images",
        "ann_dir": "labels",
    }
    label = build_dataset({**config, "pipeline": steps})[0]["gt_semantic_seg"]
    assert label.shape == (300, 200)
    assert (label[:298] == 7).all()
    assert (label[298:] == 255).all()


def test_hidden_files_are_no_images(files):
    write_png(files.gta / "images/.00009.png", np.zeros((3, 4, 3), np.uint8))
    write_png(files.gta / "images/.thumbnails/00008.png", np.zeros((3, 4, 3), np.uint8))
    assert len(build_dataset(files.source())) == 4


@pytest.mark.parametrize("to_label_id", [True, False])
def test_cityscapes_predictions_are_written_as_recorded(golden, files, to_label_id):
    """Golden H: base names, palette PNGs, values in the numbering of the test server."""
    facts = json.loads((golden / "H/H.json").read_text())
    with np.load(golden / "H/H.npz") as archive:
        predictions = archive["preds"]
        key = "format_results_img0" if to_label_id else "format_results_trainid_img0"
        expected = archive[key]
    dataset = build_dataset(files.target(pipeline=make_pipeline_test()), test_mode=True)
    out = files.gta.parent / "out"
    written = dataset.format_results(predictions[:3], out, to_label_id)
    assert [Path(f).name for f in written] == [
        f"ulm_{i:06d}_000019_leftImg8bit.png" for i in range(3)
    ]
    with Image.open(written[0]) as image:
        assert image.mode == facts["format_results_mode"]
        np.testing.assert_array_equal(np.array(image), expected)
        palette = image.getpalette()
    recorded = facts["format_results_palette_first30"]
    if to_label_id:
        assert palette[: len(recorded)] == recorded
    else:
        assert palette[:6] == [128, 64, 128, 244, 35, 232]
    only = dataset.format_results(predictions[3:], out / "one", to_label_id, indices=[2])
    assert [Path(f).name for f in only] == ["ulm_000002_000019_leftImg8bit.png"]


def test_evaluate_compares_with_the_labels_in_order(files):
    dataset = build_dataset(files.target(pipeline=make_pipeline_test()), test_mode=True)
    perfect = [dataset.gt_label(i) for i in range(len(dataset))]
    assert dataset.evaluate(perfect)["mIoU"] == 1
    assert dataset.evaluate(perfect[::-1])["mIoU"] < 0.5


def test_ids_outside_the_table_are_ignored():
    ids = np.array([0, 3, 7, 33, 34, 255, 65535])
    cityscapes, synthia = CityscapesDataset.ID_TO_TRAIN_ID, SynthiaDataset.ID_TO_TRAIN_ID
    assert id_to_train_id(ids, cityscapes).tolist() == [255, 255, 0, 18] + [255] * 3
    assert id_to_train_id(ids, synthia).tolist() == [255, 0, 5] + [255] * 4
    assert id_to_train_id(np.array([-1]), cityscapes).tolist() == [255]
