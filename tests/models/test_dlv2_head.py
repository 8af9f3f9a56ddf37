"""DeepLab-v2's head: recorded outputs, losses, gradients (golden C4), and its start."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from golden_init import blocky_labels
from network_records import NOISE, RECORDS, filled, keys_and_shapes, normal, recorded_arrays
from torch import Tensor, nn

from mmseg.models import HEADS
from mmseg.system.errors import ConfigError

HEAD_RECORDS = json.loads((RECORDS / "C4_heads.json").read_text())
CHANNELS, SIZES = (16, 32, 48, 64), (32, 16, 16, 16)


@pytest.fixture(scope="module")
def features() -> list[Tensor]:
    """Deterministic stand-ins for a ResNet's features."""
    levels = enumerate(zip(CHANNELS, SIZES, strict=True))
    return [normal(f"C4:res{i}", 2, c, s, s) for i, (c, s) in levels]


def small_cfg(**changes: Any) -> dict[str, Any]:
    return {"type": "DLV2Head", "in_channels": 6, "num_classes": 5, **changes}


@pytest.mark.parametrize("name", ["DLV2Head", "DLV2Head_red"])
def test_keys_logits_losses_and_gradients_equal_the_recorded_ones(
    name: str, features: list[Tensor]
) -> None:
    record = HEAD_RECORDS[name]
    head = HEADS.build(copy.deepcopy(record["config"]))
    assert keys_and_shapes(head) == record["keys"]
    with torch.no_grad():
        logits = filled(head).eval()(features)
    np.testing.assert_allclose(logits, recorded_arrays("C4_heads.npz")[f"{name}_eval"], **NOISE)
    maps = [blocky_labels(f"C4:gt{b}", 128, 128, range(19), 16, 0.05) for b in range(2)]
    label = torch.from_numpy(np.stack(maps))[:, None]
    losses = head.train().forward_train(features, None, label)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(record["train_losses"], 1e-6)
    losses["loss_seg"].backward()
    norms = {k: p.grad.norm().item() for k, p in head.named_parameters() if p.grad is not None}
    assert norms == pytest.approx(record["grad_norms"], rel=1e-6)


def test_the_sum_of_two_dilations_by_hand() -> None:
    """A kernel of ones adds nine pixels that are 1 apart, or 2 apart, of a single bright pixel."""
    head = HEADS.build({**small_cfg(in_channels=1, num_classes=2), "dilations": (2, 3)})
    for conv in (head.aspp_modules[0].conv, head.aspp_modules[1].conv):
        nn.init.ones_(conv.weight)
        nn.init.constant_(conv.bias, 0.5)
    image = torch.zeros(1, 1, 7, 9)
    image[0, 0, 3, 4] = 1
    expected = torch.ones(7, 9)  # both biases
    for distance in (2, 3):
        for dy in (-distance, 0, distance):
            for dx in (-distance, 0, distance):
                expected[3 + dy, 4 + dx] += 1
    logits = head([image])
    torch.testing.assert_close(logits[0], expected.expand(2, 7, 9))


def test_initial_weights_are_narrow_and_biases_zero() -> None:
    """Of 24,300 weights; 5 % are 11 standard errors of their spread."""
    head = HEADS.build(small_cfg(in_channels=90, num_classes=30))
    head.init_weights()
    convs = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 4
    for conv in convs:
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert conv.bias is not None
        assert (conv.bias == 0).all()
    wide = HEADS.build(
        small_cfg(in_channels=90, num_classes=30, init_cfg={"type": "Normal", "std": 0.2})
    )
    wide.init_weights()
    assert wide.aspp_modules[0].conv.weight.std().item() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("key", ["channels", "dropout_ratio", "norm_cfg"])
def test_keys_that_it_has_no_use_for_are_rejected(key: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}' in decode head 'DLV2Head'"):
        HEADS.build(small_cfg(**{key: 1}))


def test_another_initialization_is_rejected() -> None:
    with pytest.raises(ConfigError, match="type of init_cfg: expected 'Normal', got 'Xavier'"):
        HEADS.build(small_cfg(init_cfg={"type": "Xavier"}))
