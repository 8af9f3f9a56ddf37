"""Untrusted margins against the recorded reference."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg.models.uda.base import UDABatch
from mmseg.models.uda.margins import trusted_pixels, with_unflipped_margins

STORED = np.load(Path(__file__).parents[2] / "golden" / "E" / "E.npz")


def batch(**changes: Any) -> UDABatch:
    images = torch.zeros(2, 3, 32, 40)
    labels = torch.zeros(2, 1, 32, 40).long()
    parts = {"img": images, "gt_semantic_seg": labels, "target_img": images, **changes}
    return UDABatch.from_loader(parts)


def test_rows_at_both_ends_lose_their_weight_as_recorded() -> None:
    got = torch.from_numpy(STORED["E9_pw"]) * trusted_pixels(batch(), 5, 9)
    assert torch.equal(got, torch.from_numpy(STORED["E9_filter_topbottom"]))


def test_valid_mask_takes_weight_as_recorded() -> None:
    mask = torch.from_numpy(STORED["E9_valid_mask"]).byte()
    got = torch.from_numpy(STORED["E9_pw"]) * trusted_pixels(batch(valid_pseudo_mask=mask), 0, 0)
    assert torch.equal(got, torch.from_numpy(STORED["E9_filter_mask"]))


def test_no_margins_trust_everything() -> None:
    assert trusted_pixels(batch(), 0, 0).min() == 1


def test_flips_of_the_margins_are_undone_alone_and_where_there_are_some() -> None:
    """As VFM-UDA's released code, which flips the image and not its margins (V1)."""
    assert with_unflipped_margins(batch()).valid_pseudo_mask is None
    mask = torch.arange(2 * 32 * 40).view(2, 1, 32, 40)
    kinds = [{}, {"flip": False}, {"flip": True}, {"flip": True, "flip_direction": "vertical"}]
    for first, second in zip(kinds, kinds[1:], strict=False):
        data = batch(valid_pseudo_mask=mask, target_img_metas=[first, second])
        got = with_unflipped_margins(data)
        for found, whole, meta in zip(got.valid_pseudo_mask, mask, (first, second), strict=True):
            axis = 1 if "flip_direction" in meta else 2
            assert torch.equal(found, whole.flip(axis) if meta.get("flip") else whole)
        assert got.target_image is data.target_image
