"""HRDA against the recorded reference (golden C3): losses, gradients, logits, predictions."""

import json
from functools import cache
from typing import Any

import models_cfg
import numpy as np
import pytest
import torch
from golden_init import arr, blocky_labels
from network_records import (
    RECORDS,
    assert_matches_statistics,
    filled,
    keys_and_shapes,
    normal,
    recorded_arrays,
    recorded_statistics,
)
from torch import Tensor, nn

from mmseg.models import build_segmentor

SLIDE = {"mode": "slide", "batched_slide": True, "stride": (64, 64), "crop_size": (128, 128)}
CHANGES: dict[str, dict[str, Any]] = {
    "b0": {},
    "b0_all": {"feature_scale": "all"},
    "b0_nonoverlap": {"hr_slide_overlapping": False},
    "b0_blur": {"blur_hr_crop": True},
    "b0_noclswise_lrw": {},
    "b0_fixedatt": {},
    "r50dlv2": {},
}
HEAD_CHANGES: dict[str, dict[str, Any]] = {
    "b0_noclswise_lrw": {"attention_classwise": False, "lr_loss_weight": 0.2},
    "b0_fixedatt": {"fixed_attention": 0.5},
}
SINGLE = ("b0_nonoverlap", "b0_blur")  # recorded with one image
FULL = ("b0", "b0_all")  # recorded with every pixel of every image
# What the recordings, in float32, are away from ours in float64: logits 6e-5, gradients 6e-6. Where
# a ReLU is close to 0 (b0_noclswise_lrw), a gradient 1.2e-3. Deep in the ResNet, where a batch norm
# sees few numbers and amplifies rounding: logits 2e-4, gradients 3.3e-3, the class of one pixel.
NOISE = {"rtol": 1e-4, "atol": 1e-4}
LOGIT_NOISE = {"r50dlv2": {"rtol": 5e-4, "atol": 5e-4}}
GRADIENT_NOISE = {"b0_noclswise_lrw": 3.5e-3, "r50dlv2": 1e-2}
ONE_PIXEL = 100 / (2 * 128 * 128)  # of the accuracy
ACCURACY_NOISE = {"r50dlv2": 1.5 * ONE_PIXEL}


class RecordedBox:
    def __init__(self, tag: str) -> None:
        self.box = recorded_statistics()[f"C3/{tag}/train"]["crop_box_y1y2x1x2"]

    def crop_box(
        self, height: int, width: int, crop_size: tuple[int, int], divisible: int
    ) -> tuple[int, int, int, int]:
        assert (height, width, crop_size, divisible) == (128, 128, (64, 64), 8)
        y1, y2, x1, x2 = self.box
        return y1, y2, x1, x2


@cache
def network(tag: str) -> Any:
    """Build the network of a case; every test fills it anew, because batch norms remember."""
    cfg = models_cfg.hrda(dropout=0, drop_path=0, test_cfg=SLIDE, **CHANGES[tag])
    cfg["decode_head"].update(HEAD_CHANGES.get(tag, {}))
    if tag == "r50dlv2":
        bases = json.loads((RECORDS.parent / "K" / "base_configs.json").read_text())
        base = bases["configs/_base_/models/deeplabv2red_r50-d8.py"]["model"]
        hrda = {"type": "HRDAHead", "single_scale_head": "DLV2Head", "hr_loss_weight": 0.1}
        cfg.update(backbone=base["backbone"], decode_head={**base["decode_head"], **hrda})
    return build_segmentor(cfg)


def batch(tag: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, label and weight of a case."""
    n = 1 if tag in SINGLE else 2
    maps = [blocky_labels(f"C3:{tag}:gt{b}", 128, 128, range(19), 16, 0.05) for b in range(n)]
    weight = torch.from_numpy(arr(f"C3:{tag}:w", (n, 128, 128), "uniform")).double()
    image = normal(f"C3:{tag}:img", n, 3, 128, 128)
    return image, torch.from_numpy(np.stack(maps))[:, None], weight


def watch(module: nn.Module) -> tuple[list[Any], Any]:
    """Return the list that the module's outputs will go to, and the hook that fills it."""
    outputs: list[Any] = []
    return outputs, module.register_forward_hook(lambda *call: outputs.append(call[-1]))


def assert_matches_array(logits: Tensor, tag: str, name: str) -> None:
    if tag not in FULL or name == "pseudo_eval_os":
        logits = logits if tag == "b0" else logits[:1, :, ::2, ::2]
    recorded = recorded_arrays("C3_hrda.npz")[f"{tag}_{name}"]
    np.testing.assert_allclose(logits.detach().numpy(), recorded, **LOGIT_NOISE.get(tag, NOISE))


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("tag", list(CHANGES))
def test_losses_gradients_and_logits_equal_the_recorded_ones(tag: str, is_weighted: bool) -> None:
    net = filled(network(tag)).train()
    net.zero_grad()
    image, label, weight = batch(tag)
    outputs, hook = watch(net.decode_head)
    losses = net.forward_train(
        image,
        [{}] * len(image),
        label,
        weight if is_weighted else None,
        return_feat=True,
        draws=RecordedBox(tag),
    )
    hook.remove()
    record = recorded_statistics()[f"C3/{tag}/train{'_w' if is_weighted else ''}"]
    features = losses.pop("features")
    assert set(losses) == set(record["losses"])
    for key, value in losses.items():
        noise = ACCURACY_NOISE.get(tag, 1e-5) if "acc" in key else 3e-6 * record["losses"][key]
        assert value.item() == pytest.approx(record["losses"][key], rel=0, abs=noise), key
    sum(value for key, value in losses.items() if "loss" in key).backward()
    norms = {k: p.grad.norm().item() for k, p in net.named_parameters() if p.grad is not None}
    # Biases in front of a batch norm have no gradient but rounding, hence the absolute tolerance.
    assert norms == pytest.approx(record["grad_norm"], rel=GRADIENT_NOISE.get(tag, 3e-5), abs=1e-7)
    scales = [features.context, features.detail]
    shapes = [[list(f.shape) for f in scale] for scale in scales]
    assert record["feature_shapes"] == (shapes if tag == "b0_all" else shapes[0])
    for name, part in (("fused", "fused"), ("lr", "context"), ("hr", "detail")):
        logits = getattr(outputs[0], part)
        assert_matches_array(logits, tag, f"train_{name}")
        assert_matches_statistics(
            logits, f"C3/{tag}/train_logits_{name}", LOGIT_NOISE.get(tag, NOISE)
        )


@pytest.mark.parametrize("tag", list(CHANGES))
def test_pseudo_labels_equal_the_recorded_ones(tag: str) -> None:
    """In train mode batch norm sees all windows at once; in eval mode they go one by one."""
    net, image = filled(network(tag)).train(), batch(tag)[0]
    metas: list[dict[str, Any]] = [{}] * len(image)
    with torch.no_grad():
        logits = net.generate_pseudo_label(image, metas)
        assert_matches_statistics(logits, f"C3/{tag}/pseudo_trainBN", LOGIT_NOISE.get(tag, NOISE))
        every4 = recorded_arrays("C3_hrda.npz")[f"{tag}_pseudo_trainBN_0_every4"]
        np.testing.assert_allclose(logits[:1, :, ::4, ::4], every4, **LOGIT_NOISE.get(tag, NOISE))
        filled(net).eval()
        outputs, hook = watch(net.decode_head)
        logits = net.generate_pseudo_label(image, metas)
        hook.remove()
        assert_matches_statistics(logits, f"C3/{tag}/pseudo_eval", NOISE)
        assert_matches_statistics(outputs[0].fused, f"C3/{tag}/pseudo_eval_os", NOISE)
        assert_matches_array(outputs[0].fused, tag, "pseudo_eval_os")


@pytest.fixture(scope="module")
def slide_network() -> Any:
    return filled(network("b0")).eval()


def test_slide_logits_equal_the_recorded_ones(slide_network: Any) -> None:
    image, metas = normal("C3:b0:test", 1, 3, 192, 320), [{"ori_shape": (192, 320, 3)}]
    with torch.no_grad():
        logits = slide_network.slide_inference(image, metas, rescale=True)
    assert_matches_statistics(logits, "C3/b0/slide_logits", NOISE)
    every2 = recorded_arrays("C3_hrda.npz")["b0_slide_logits_every2"]
    np.testing.assert_allclose(logits[:, :, ::2, ::2], every2, **NOISE)


def test_predictions_of_several_windows_at_once_equal_the_recorded_ones(slide_network: Any) -> None:
    image, metas = normal("C3:b0:test", 1, 3, 192, 320), [{"ori_shape": (192, 320, 3)}]
    slide_network.test_cfg = {**SLIDE, "window_batch_size": 4}
    with torch.no_grad():
        probability = slide_network.inference(image, metas)
    assert_matches_statistics(probability, "C3/b0/inference", NOISE)
    label = probability.argmax(1)[0].numpy()
    recorded = recorded_arrays("C3_hrda.npz")["b0_inference_pred"]
    assert (label != recorded).sum() == 0


def test_the_other_options_change_no_key() -> None:
    keys = keys_and_shapes(network("b0"))
    for tag in ("b0_all", "b0_nonoverlap", "b0_blur"):
        assert keys_and_shapes(network(tag)) == keys
    assert not [k for k in network("b0_fixedatt").state_dict() if "scale_attention" in k]
