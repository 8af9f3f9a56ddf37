"""Labels and depth are sent as bytes wherever that loses nothing."""

import numpy as np
import pytest
import torch

from mmseg.datasets.byte_maps import narrowed, widened
from mmseg.datasets.loader import to_device

B, H, W = 2, 5, 7
MAPS = {
    "gt_semantic_seg": torch.arange(B * H * W).sub(1).remainder(256).view(B, 1, H, W),  # with 255
    "depth": torch.arange(B * H * W).view(B, H, W).float() + 100,
    "target_depth": torch.arange(B * H * W).view(B, H, W).float(),
}


@pytest.mark.parametrize("send", [widened, lambda batch: to_device(batch, torch.device("cpu"))])
def test_bytes_come_back_as_they_were(send):
    sent = narrowed({**MAPS, "img": torch.ones(B, 3, H, W), "img_metas": [{"flip": True}] * B})
    assert {key: sent[key].dtype for key in MAPS} == dict.fromkeys(MAPS, torch.uint8)
    back = send(sent)
    for key, value in MAPS.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key], value)
    assert back["img"].dtype == torch.float32
    assert back["img_metas"] == [{"flip": True}] * B


WHOLE, FRACTIONS = (-1, 256, 1000), (0.5, 254.99, np.nan, np.inf)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("gt_semantic_seg", value) for value in WHOLE),
        *((key, value) for key in ("depth", "target_depth") for value in WHOLE + FRACTIONS),
    ],
)
def test_one_pixel_that_is_no_byte_keeps_the_type(key, value):
    whole = MAPS[key].clone()
    whole[-1, ..., -1, -1] = value
    sent = narrowed({key: whole})[key]
    assert sent is whole
    assert to_device({key: whole}, torch.device("cpu"))[key] is whole


def test_other_types_and_fields_stay():
    batch = {
        "gt_semantic_seg": torch.zeros(B, 1, H, W, dtype=torch.int32),
        "depth": torch.zeros(B, H, W, dtype=torch.float64),
        "valid_pseudo_mask": torch.ones(B, 1, H, W, dtype=torch.uint8),
        "own": torch.zeros(B, dtype=torch.int64),
    }
    for change in (narrowed, widened):
        assert all(change(batch)[key] is value for key, value in batch.items())
