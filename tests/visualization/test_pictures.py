from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg.datasets.labels import PALETTE
from mmseg.datasets.pipelines.photometric import denormalize
from mmseg.visualization.debug_panels import write_debug_panels
from mmseg.visualization.mosaic import GAP, TITLE_HEIGHT, Cell, mosaic
from mmseg.visualization.palettes import blend, colorize, heat, paint

NORM = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}


def pictures(batch: int = 2) -> dict:
    rng = np.random.default_rng(3)
    image = torch.from_numpy(rng.normal(size=(batch, 3, 40, 56)).astype(np.float32))
    label = torch.from_numpy(rng.integers(0, 19, (batch, 40, 56)))
    weight = torch.from_numpy(rng.random((batch, 40, 56)).astype(np.float32))
    return {
        "img_norm_cfg": NORM,
        "source_image": image,
        "target_image": image.flip(3),
        "source_label": label,
        "source_prediction": label,
        "mixed_image": image,
        "mixed_label": label,
        "mixed_prediction": label,
        "pseudo_label": label,
        "mixed_weight": weight,
        "domain_mask": weight.round(),
        "feature_distance_mask": weight[:, ::8, ::8],
        "feature_distance_label": label[:, ::8, ::8],
    }


def test_all_256_gray_values_survive_normalization_and_back():
    """Normalize as the pipeline does (float32), for each channel and value; padding is the mean."""
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)  # (256, 1, 3)
    rgb = values[..., ::-1].astype(np.float32)
    normalized = (rgb - np.float32(NORM["mean"])) * (1 / np.float32(NORM["std"]))
    tensor = torch.from_numpy(normalized.transpose(2, 0, 1).copy())
    assert np.array_equal(denormalize(tensor, NORM), values)
    assert denormalize(torch.zeros(3, 1, 1), NORM).tolist() == [[[104, 116, 124]]]  # BGR
    assert denormalize(torch.zeros(3, 1, 1), {**NORM, "to_rgb": False})[0, 0, 0] == 124


def test_painted_prediction_holds_train_ids_and_their_colors(tmp_path):
    label = np.array([[0, 18, 255], [7, 7, 1]])
    paint(tmp_path / "city" / "a.png", label)
    image = Image.open(tmp_path / "city" / "a.png")
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), label)
    expected = [[PALETTE[0], PALETTE[18], [0, 0, 0]], [PALETTE[7], PALETTE[7], PALETTE[1]]]
    assert np.asarray(image.convert("RGB")).tolist() == expected
    assert colorize(label).tolist() == expected


def test_blend_at_opacity_one_quarter_is_the_weighted_mean(tmp_path):
    image = np.full((1, 2, 3), 200, np.uint8)
    label = np.array([[0, 255]])
    assert blend(image, label, 0.25).tolist() == [[[182, 166, 182], [150, 150, 150]]]
    paint(tmp_path / "b.png", label, image, opacity=0.25)
    assert np.asarray(Image.open(tmp_path / "b.png")).tolist() == blend(image, label, 0.25).tolist()
    with pytest.raises(ValueError, match=r"expected a label of the image's size \(1, 2\)"):
        blend(image, label.T)


def test_heat_orders_values_and_survives_nan():
    colors = heat(np.array([[0.0, 0.5, 1.0, 9.0, np.nan]])).astype(int).sum(2)[0]
    assert colors[0] < colors[1] < colors[2] == colors[3]
    assert colors[4] == colors[0]


def test_mosaic_puts_each_picture_in_its_place_and_leaves_empty_cells_white():
    red = np.zeros((10, 20, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    page = mosaic([[Cell("a", red), Cell()], [Cell(), Cell("b", red[::2, ::2])]])
    row, column = 10 + TITLE_HEIGHT + GAP, 20 + GAP
    assert page.shape == (2 * row + GAP, 2 * column + GAP, 3)
    assert np.array_equal(page[TITLE_HEIGHT + GAP : row, GAP : GAP + 20], red)
    assert np.array_equal(page[row + TITLE_HEIGHT + GAP : 2 * row, column + GAP : -GAP], red)
    assert (page[TITLE_HEIGHT + GAP : row, column:] == 255).all()


def test_panels_of_every_image_are_named_after_the_finished_iteration(tmp_path):
    files = write_debug_panels(pictures(), tmp_path, iteration=999)
    names = ["001000_0.png", "001000_0_s.png", "001000_1.png", "001000_1_s.png"]
    assert [file.name for file in files] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert not np.array_equal(*(np.asarray(Image.open(files[i])) for i in (0, 2)))


def test_cdda_adds_two_columns_and_missing_phases_leave_the_others_in_place(tmp_path):
    plain = pictures(batch=1)
    extra = {
        "matched_image": plain["source_image"],
        "matched_label": plain["source_label"],
        "target_depth": plain["mixed_weight"] * 255,
        "reweighted": plain["mixed_weight"],
    }
    source_only = {
        key: plain[key] for key in ("img_norm_cfg", "source_image", "target_image", "source_label")
    }
    sizes = []
    for name, shown in (("a", plain), ("b", plain | extra), ("c", source_only)):
        panel, phases = write_debug_panels(shown, tmp_path / name, iteration=0)
        sizes.append((Image.open(panel).size, Image.open(phases).size))
    (a, a_phases), (b, b_phases), (c, c_phases) = sizes
    assert (b[0] - GAP) * 5 == (a[0] - GAP) * 7
    assert c == a
    assert a_phases == b_phases
    assert c_phases[0] < a_phases[0]


def masked_pictures() -> dict:
    """Pictures of DAFormer with MIC and a second teacher."""
    plain = pictures()
    masked = plain["target_image"].clone()
    masked[:, :, :8, :8] = 0
    return plain | {
        "masked_image": masked,
        "masked_label": plain["pseudo_label"],
        "masked_weight": plain["mixed_weight"],
        "masked_prediction": plain["source_label"],
        "masked_teacher_label": plain["source_label"].flip(2),
    }


def cells(panel: Path, columns: int, rows: int) -> np.ndarray:
    """Return (rows, columns, h, w, 3), the pictures of a panel without titles and gaps."""
    page = np.asarray(Image.open(panel))[:-GAP, :-GAP]
    height, width = page.shape[0] // rows, page.shape[1] // columns
    grid = page.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
    return grid[:, :, TITLE_HEIGHT + GAP :, GAP:]


def test_phases_of_mic_are_columns_and_the_second_teacher_has_its_own(tmp_path):
    shown = masked_pictures()
    shown["masked_teacher_label"][0] = 13
    shared = {key: value for key, value in shown.items() if "teacher" not in key}
    _, own_panel, *_ = write_debug_panels(shown, tmp_path / "own", iteration=0)
    _, shared_panel, *_ = write_debug_panels(shared, tmp_path / "shared", iteration=0)
    own, shared = cells(own_panel, columns=5, rows=3), cells(shared_panel, columns=4, rows=3)
    assert np.array_equal(own[:, [0, 1, 2, 4]], shared)
    assert (own[1, 3] == PALETTE[13]).all()
    assert np.array_equal(own[0, 3], own[0, 1])  # it labels the image that is masked afterwards
    assert not np.array_equal(own[0, 4], own[0, 1])
    assert (own[2, 3] == 255).all()


def test_hrda_shows_both_scales_their_fusion_and_what_the_detail_saw(tmp_path):
    """Logits and attention are drawn by their best class and their mean, in the stated rows."""
    plain = pictures()
    shown = {k: v for k, v in plain.items() if not k.startswith("mixed")}
    details, context = torch.zeros(2, 19, 5, 7), torch.zeros(2, 19, 10, 14)
    details[:, 4] = context[:, 9] = 1
    attention = torch.zeros(2, 19, 10, 14)
    attention[:, :, 2:7] = torch.linspace(0, 1, 19).view(-1, 1, 1)  # 0.5 on average
    shown |= {
        "source_prediction": torch.full((2, 10, 14), 6),
        "source_high_resolution": details,
        "source_low_resolution": context,
        "source_attention": attention,
        "source_cropped_label": torch.full((2, 1, 5, 7), 2),
    }
    _, panel, *_ = write_debug_panels(shown, tmp_path, iteration=0)
    source, target = cells(panel, columns=2, rows=7).swapaxes(0, 1)
    for row, index in {2: 4, 3: 9, 4: 6, 6: 2}.items():
        assert (source[row] == PALETTE[index]).all(), row
    middle, border = source[5][len(source[5]) // 2], source[5][0]
    assert (middle == heat(np.array([[0.5]]))[0, 0]).all()
    assert (border == heat(np.array([[0.0]]))[0, 0]).all()
    assert (target[2:] == 255).all()  # the teacher's phase has one scale
    assert not (target[:2] == 255).all()


def test_a_masked_batch_may_hold_fewer_images_than_the_others(tmp_path):
    """Mode `separate` masks two images, whatever the batch size."""
    shown = masked_pictures()
    shown |= {key: value[:1] for key, value in shown.items() if key.startswith("masked")}
    panels = [p for p in write_debug_panels(shown, tmp_path, iteration=0) if "_s" in p.stem]
    first, second = (cells(panel, columns=5, rows=3) for panel in panels)
    assert not (first[:, 4] == 255).all()
    assert (second[:, 4] == 255).all()


def test_panels_do_not_change_the_pictures_and_take_half_precision(tmp_path):
    shown = pictures(batch=1) | {"img_norm_cfg": None, "target_depth": None}
    shown["mixed_image"] = shown["mixed_image"].bfloat16()
    before = {key: value.clone() for key, value in shown.items() if torch.is_tensor(value)}
    write_debug_panels(shown, tmp_path, iteration=1)
    assert all(torch.equal(shown[key], value) for key, value in before.items())
