"""The options of tools/test.py, each against what it means, computed here by hand."""

import json
import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import models_cfg
import numpy as np
import pytest
import tiny_run
import torch
from golden_init import init_module
from PIL import Image
from torch import Tensor

from mmseg.apis import init_segmentor
from mmseg.datasets.image_files import read_color, read_label
from mmseg.evaluation import eval_metrics
from mmseg.models import build_segmentor
from mmseg.visualization.palettes import heat
from tools import test as test_tool

ROOT = Path(__file__).parents[2]
SLIDE = {"mode": "slide", "batched_slide": True, "crop_size": (64, 64), "stride": (48, 64)}
BACKBONE = {
    "type": "MixVisionTransformer",
    "embed_dims": [8, 12, 16, 24],
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 3],
}
SIZE = (tiny_run.HEIGHT, tiny_run.WIDTH)
NAMES = [f"town/town_00000{number}_000019" for number in range(3)]
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and config and checkpoint of an HRDA network and of a plain one."""
    root = tmp_path_factory.mktemp("test_tool")
    tiny_run.write_pictures(root)
    shutil.copytree(root / "target/leftImg8bit/val", root / "target/leftImg8bit/test")
    (root / "one.txt").write_text(NAMES[1])
    models = {
        "hrda": models_cfg.hrda(channels=16, embed=16, hr_crop=(48, 64), test_cfg=SLIDE),
        "plain": models_cfg.daformer(channels=16, embed=16),
    }
    for name, model in models.items():
        model["backbone"] = BACKBONE
        model["decode_head"]["in_channels"] = BACKBONE["embed_dims"]
        values = tiny_run.config(root, "SynthiaDataset", model=model, name=name)
        tiny_run.write_config(root / f"{name}.py", values)
        weights = init_module(build_segmentor(model)).state_dict()
        torch.save({"state_dict": weights}, root / f"{name}.pth")
    return root


@pytest.fixture(scope="module")
def hrda(root: Path) -> Any:
    return init_segmentor(root / "hrda.py", root / "hrda.pth", device="cpu")


def run(root: Path, folder: Path, *options: str, network: str = "hrda") -> None:
    files = [str(root / f"{network}.py"), str(root / f"{network}.pth")]
    test_tool.main([*files, "--work-dir", str(folder), *options])


def picture(root: Path, name: str, split: str = "val") -> np.ndarray:
    """Return an image (H, W, 3) as it is on the disk, BGR."""
    return read_color(root / f"target/leftImg8bit/{split}/{name}_leftImg8bit.png")


def normalized(bgr: np.ndarray) -> Tensor:
    """Return what the network sees of an image, (1, 3, H, W)."""
    mean, std = (np.array(tiny_run.NORM[key], np.float32) for key in ("mean", "std"))
    rgb = (bgr[..., ::-1].astype(np.float32) - mean) / std
    return torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None]


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    return torch.nn.functional.interpolate(logits, tuple(size), mode="bilinear")


def painted(folder: Path, names: Sequence[str] = NAMES) -> list[np.ndarray]:
    return [read_label(folder / f"{name}_leftImg8bit.png") for name in names]


def one_image(root: Path) -> list[str]:
    """Return options that test the second image alone."""
    return ["--cfg-options", f"data.test.split={root}/one.txt"]


def assert_same_labels(ours: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Rounding may decide where two classes tie: one pixel in a thousand. So far, none did."""
    for one, other in zip(ours, expected, strict=True):
        assert one.shape == other.shape
        assert (one != other).mean() < 1e-3


@torch.no_grad()
def one_scale(hrda: Any, image: Tensor, scale: str) -> np.ndarray:
    """Label an image by its context alone, or by its details alone."""
    if scale == "LR":
        context = enlarged(image, [length // 2 for length in image.shape[2:]])
        logits = hrda.decode_head.head(hrda.extract_feat(context))
        logits = enlarged(logits, [length // 4 for length in image.shape[2:]])
    else:
        total, count = torch.zeros(1, 19, 18, 24), torch.zeros(18, 24)
        for y, x in ((0, 0), (0, 32), (24, 0), (24, 32)):  # windows of 48x64, by half
            window = image[:, :, y : y + 48, x : x + 64]
            rows, columns = slice(y // 4, y // 4 + 12), slice(x // 4, x // 4 + 16)
            total[:, :, rows, columns] += hrda.decode_head.head(hrda.extract_feat(window))
            count[rows, columns] += 1
        logits = total / count
    return enlarged(logits, image.shape[2:]).argmax(1)[0].numpy()


@pytest.mark.parametrize("scale", ["LR", "HR"])
def test_one_scale_of_hrda_is_evaluated_alone(
    root: Path, hrda: Any, scale: str, tmp_path: Path
) -> None:
    preds = tmp_path / "preds"
    options = ["--hrda-out", scale, "--inference-mode", "whole", "--eval", "mIoU"]
    run(root, tmp_path, *options, "--show-dir", str(preds), "--opacity", "1")
    expected = [one_scale(hrda, normalized(picture(root, name)), scale) for name in NAMES]
    assert_same_labels(painted(preds), expected)
    assert len(np.unique(expected[0])) > 1
    (file,) = tmp_path.glob("*.json")  # and the results of both scales are not overwritten
    assert file.name == f"results_{scale.lower()}.json"
    record = json.loads(file.read_text())
    assert (record["hrda_out"], record["inference_mode"]) == (scale, "whole")
    (log,) = tmp_path.glob("*.log")
    assert f"IoU of the student ({scale}): mIoU: " in log.read_text()


@torch.no_grad()
def attention_of(hrda: Any, image: Tensor) -> Tensor:
    """Return Σ_c a_c·softmax(fused)_c, (H, W), of an image that goes through as a whole."""
    context = enlarged(image, [length // 2 for length in image.shape[2:]])
    attention = hrda.decode_head.scale_attention(hrda.extract_feat(context)).sigmoid()
    fused = hrda.encode_decode(image, upscale_pred=False)
    attention = enlarged(attention, fused.shape[2:])
    expected = (attention * fused.softmax(1)).sum(1, keepdim=True)
    return enlarged(enlarged(expected, image.shape[2:]), SIZE)[0, 0]


@pytest.mark.parametrize("is_augmented", [False, True])
def test_the_attention_is_painted_in_gray(
    root: Path, hrda: Any, is_augmented: bool, tmp_path: Path
) -> None:
    """With --aug-test, mirrored maps are turned back before they are averaged."""
    options = ["--hrda-out", "ATT", "--inference-mode", "whole", "--opacity", "1"]
    options += ["--aug-test"] * is_augmented
    show = ["--show-dir", str(tmp_path / "attention")]
    run(root, tmp_path, *options, *show, *one_image(root))
    maps = []
    for image, is_mirrored in versions(picture(root, NAMES[1]), is_augmented):
        attention = attention_of(hrda, normalized(image))
        maps.append(attention.flip(1) if is_mirrored else attention)
    expected = torch.stack(maps).mean(0).numpy() * 255
    (found,) = painted(tmp_path / "attention", NAMES[1:2])
    assert np.abs(found - expected).max() < 0.51  # rounded
    assert found.max() > found.min()
    assert not list(tmp_path.glob("*.json"))


def test_the_attention_is_laid_over_the_image_in_color(
    root: Path, hrda: Any, tmp_path: Path
) -> None:
    options = ["--hrda-out", "ATT", "--inference-mode", "whole", "--opacity", "0.25"]
    run(root, tmp_path, *options, "--show-dir", str(tmp_path / "attention"))
    bgr = picture(root, NAMES[1])
    colors = heat(attention_of(hrda, normalized(bgr)).numpy())
    expected = 0.75 * bgr[..., ::-1].astype(float) + 0.25 * colors
    with Image.open(tmp_path / f"attention/{NAMES[1]}_leftImg8bit.png") as image:
        assert np.abs(np.asarray(image) - expected).max() < 1.01  # rounded; one step of the colors


def versions(bgr: np.ndarray, is_augmented: bool = True) -> list[tuple[np.ndarray, bool]]:
    """Return the sizes and mirrored copies of an image that --aug-test asks for."""
    if not is_augmented:
        return [(bgr, False)]
    found = []
    for ratio in RATIOS:
        size = (int(tiny_run.WIDTH * ratio), int(tiny_run.HEIGHT * ratio))
        resized = cv2.resize(bgr, size, interpolation=cv2.INTER_LINEAR)
        found += [(resized, False), (resized[:, ::-1], True)]
    return found


@torch.no_grad()
def test_six_sizes_and_their_mirrored_copies_are_averaged_for_hrda_too(
    root: Path, hrda: Any, tmp_path: Path
) -> None:
    """Some of the sizes are smaller than a window, or no multiple of the network's stride."""
    out = tmp_path / "labels.pkl"
    options = ["--aug-test", "--out", str(out), "--eval", "mIoU"]
    run(root, tmp_path, *options, *one_image(root))
    total = torch.zeros(19, *SIZE)
    for image, is_mirrored in versions(picture(root, NAMES[1])):
        logits = hrda.slide_inference(normalized(image), [{"ori_shape": SIZE}], rescale=True)
        probability = logits.softmax(1)[0]
        total += probability.flip(2) if is_mirrored else probability
    assert_same_labels(pickle.loads(out.read_bytes()), [total.argmax(0).numpy()])
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["aug_test"] is True


@torch.no_grad()
def test_the_mode_of_the_config_can_be_changed(root: Path, hrda: Any, tmp_path: Path) -> None:
    grid = ["model.test_cfg.crop_size=(64,48)", "model.test_cfg.stride=(40,48)"]
    chosen = {
        "whole": ["--inference-mode", "whole"],
        "slide": ["--inference-mode", "slide", "--cfg-options", *grid],
    }
    image, metas = normalized(picture(root, NAMES[2])), [{"ori_shape": SIZE}]
    expected = {"whole": hrda.whole_inference(image, metas, rescale=True).argmax(1)[0].numpy()}
    cfg = {**hrda.test_cfg, "crop_size": (64, 48), "stride": (40, 48)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hrda, "test_cfg", cfg)
        expected["slide"] = hrda.slide_inference(image, metas, rescale=True).argmax(1)[0].numpy()
    assert (expected["whole"] != expected["slide"]).any()
    for mode, options in chosen.items():
        out = tmp_path / f"{mode}.pkl"
        run(root, tmp_path, "--out", str(out), *options)
        assert_same_labels(pickle.loads(out.read_bytes())[2:], [expected[mode]])


def test_all_metrics_are_those_of_the_labels_that_are_written(root: Path, tmp_path: Path) -> None:
    out, metrics = tmp_path / "labels.pkl", ["mIoU", "mDice", "mFscore"]
    run(root, tmp_path, "--out", str(out), "--eval", *metrics, network="plain")
    gt = [read_label(root / f"target/gtFine/val/{n}_gtFine_labelTrainIds.png") for n in NAMES]
    values = eval_metrics(pickle.loads(out.read_bytes()), gt, 19, metrics=metrics)
    record = json.loads((tmp_path / "results.json").read_text())
    for metric in ("IoU", "Acc", "Dice", "Fscore", "Precision", "Recall"):
        found = [entry[metric] for entry in record["per_class"].values()]
        expected = [None if np.isnan(v) else round(v, 4) for v in values[metric]]
        assert found == pytest.approx(expected, abs=1e-9)
        assert record[f"m{metric}"] == pytest.approx(np.nanmean(values[metric]), abs=5.1e-5)
    assert record["aAcc"] == pytest.approx(values["aAcc"], abs=5.1e-5)


def test_subsets_for_synthia_are_printed_with_the_split(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path, "--eval", "mIoU", network="plain")
    record = json.loads((tmp_path / "results.json").read_text())
    iou = [entry["IoU"] for entry in record["per_class"].values()]
    for count, left_out in ((19, ()), (16, (9, 14, 16)), (13, (3, 4, 5, 9, 14, 16))):
        kept = [v for c, v in enumerate(iou) if c not in left_out and v is not None]
        assert record[f"mIoU{count}"] == pytest.approx(np.mean(kept), abs=1e-4)
    (log,) = tmp_path.glob("*.log")
    text = log.read_text()
    assert f"Results on {root}/target/leftImg8bit/val, 3 images:" in text
    assert re.search(r"mIoU19: \d+\.\d, mIoU16: \d+\.\d, mIoU13: \d+\.\d\n", text)


def test_images_without_labels_are_painted_and_formatted(root: Path, tmp_path: Path) -> None:
    assert not (root / "target/gtFine/test").exists()
    server, preds = tmp_path / "server", tmp_path / "preds"
    options = ["--test-set", "--format-only", "--eval-options", f"imgfile_prefix={server}"]
    options += ["to_label_id=False", "--show-dir", str(preds), "--opacity", "1"]
    run(root, tmp_path, *options, network="plain")
    labels = painted(preds)
    for name, label in zip(NAMES, labels, strict=True):
        file = server / f"{Path(name).name}_leftImg8bit.png"
        assert (read_label(file) == label).all()
    (log,) = tmp_path.glob("*.log")
    assert f"Split: {root}/target/leftImg8bit/test, 3 images" in log.read_text()
    with pytest.raises(SystemExit, match=r"expected the label '.*gtFine/test/town.*', got no such"):
        run(root, tmp_path, "--test-set", "--eval", "mIoU", network="plain")


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("plain", ["--hrda-out", "LR"], "expected an HRDA network for --hrda-out LR, got Encoder"),
        ("plain", ["--hrda-out", "ATT", "--show-dir", "p"], "expected an HRDA network"),
        ("hrda", ["--hrda-out", "ATT"], "--hrda-out ATT, got none. Add --show-dir FOLDER"),
        ("hrda", ["--hrda-out", "ATT", "--eval", "mIoU"], "without --eval, got both"),
        ("hrda", ["--hrda-out", "ATT", "--out", "x.pkl"], "without --out, got both"),
        ("plain", ["--inference-mode", "slide"], "slide, got no crop_size and no stride. Add"),
    ],
)
def test_impossible_wishes_are_explained(
    root: Path, network: str, options: list[str], message: str, tmp_path: Path
) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(SystemExit, match=re.escape(message)),
    ):
        patch.chdir(tmp_path)
        run(root, tmp_path, *options, network=network)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "--eval mIoU --show-dir RUN/preds --opacity 1"),
        (["--hrda-out", "LR"], "--eval mIoU --show-dir RUN/preds_lr --opacity 1 --hrda-out LR"),
        (["--hrda-out=HR"], "--eval mIoU --show-dir RUN/preds_hr --opacity 1 --hrda-out=HR"),
        (["--hrda-out", "ATT"], "--show-dir RUN/attention --opacity 1 --hrda-out ATT"),
    ],
)
def test_test_sh_keeps_the_predictions_apart(
    given: list[str], expected: str, tmp_path: Path
) -> None:
    for name in ("run.py", "latest.pth", "results_lr.json"):
        (tmp_path / name).touch()
    command = ["sh", str(ROOT / "test.sh"), str(tmp_path), *given]
    environment = {**os.environ, "PYTHON": "echo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    *_, arguments = done.stdout.splitlines()
    assert arguments.split(" ", 3)[3] == expected.replace("RUN", str(tmp_path))
