"""HRDA's head: the fusion of two scales against slow loops, losses by hand, mistakes.

The single-scale head is DeepLab-v2's with dilation 1, a 1×1 convolution, so that a cell's logits
depend on that cell alone. Its output stride is 8: a detail image of 40×56 pixels has 5×7 cells.
"""

from typing import Any

import models_cfg
import pytest
import torch
import torch.nn.functional as F
from network_records import EQUAL, filled, normal
from torch import Tensor

from mmseg.models import HEADS
from mmseg.models.decode_heads.hrda_head import HRDAHead
from mmseg.system.errors import ConfigError

SIZE = (40, 56)
GRID = (5, 7)
BOX = (16, 40, 8, 40)  # rows 2…4, columns 1…4 of the grid


def cfg(**changes: Any) -> dict[str, Any]:
    small = {"single_scale_head": "DLV2Head", "in_channels": 3, "num_classes": 4}
    return {"type": "HRDAHead", **small, "dilations": (1,), "align_corners": False, **changes}


def build(**changes: Any) -> HRDAHead:
    return filled(HEADS.build(cfg(**changes)))


def upscaled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly pixel by pixel: cell centers lie in the middle of cells."""
    rows, columns = x.shape[2:]
    result = x.new_zeros(*x.shape[:2], *size)
    for i in range(size[0]):
        y = min(max((i + 0.5) * rows / size[0] - 0.5, 0), rows - 1)
        for j in range(size[1]):
            u = min(max((j + 0.5) * columns / size[1] - 0.5, 0), columns - 1)
            top, left = int(y), int(u)
            for dy in (0, 1):
                for dx in (0, 1):
                    share = (y - top if dy else 1 - y + top) * (u - left if dx else 1 - u + left)
                    source = x[:, :, min(top + dy, rows - 1), min(left + dx, columns - 1)]
                    result[:, :, i, j] += share * source
    return result


def slow_fusion(head: Any, context: Tensor, detail: Tensor, inside: Tensor) -> Tensor:
    """Return the fused map; `inside` (h', w') says where the attention counts."""
    attention = head.scale_attention([context]).sigmoid() * inside
    coarse = upscaled((1 - attention) * head.head([context]), GRID)
    attention = upscaled(attention, GRID)
    fused = coarse.clone()
    y1, y2, x1, x2 = (edge // 8 for edge in BOX)
    for i in range(y1, y2):
        for j in range(x1, x2):
            fused[:, :, i, j] += attention[:, :, i, j] * detail[:, :, i - y1, j - x1]
    return fused


@pytest.mark.parametrize("classwise", [True, False])
def test_detail_and_context_are_fused_as_in_a_slow_loop(classwise: bool) -> None:
    """Context cells are 16 pixels: 3×4 of them, of which the box covers 1…2 and 0…1.

    Rows 16…40 are the cells 16·3/40 = 1.2 to 3, columns 8…40 are 8·4/56 = 0.6 to 40·4/56 = 2.9.
    """
    head = build(attention_classwise=classwise)
    context, detail = normal("context", 2, 3, 3, 4), normal("detail", 2, 4, 3, 4)
    inside = torch.zeros(3, 4)
    inside[1:3, 0:2] = 1
    output = head([context], lambda: detail, BOX, SIZE)
    assert output.attention.shape == (2, 4 if classwise else 1, *GRID)
    torch.testing.assert_close(output.fused, slow_fusion(head, context, detail, inside), **EQUAL)


def test_attention_is_zero_outside_of_the_window_and_the_context_whole_there() -> None:
    head = build()
    context = normal("context", 1, 3, 10, 14)  # of an image of 160×224: cells of 16 pixels
    output = head([context], lambda: normal("d", 1, 4, 8, 8), (64, 128, 96, 160), (160, 224))
    outside = torch.ones(10, 14, dtype=torch.bool)
    outside[4:8, 6:10] = False
    plain = head.single_scale([context])
    assert torch.equal(output.context[..., outside], plain[..., outside])
    assert (output.context[..., ~outside] != plain[..., ~outside]).all()
    fine = output.attention  # (1, 4, 20, 28); bilinear edges reach one cell out of the window
    far = torch.ones(20, 28, dtype=torch.bool)
    far[7:17, 11:21] = False
    assert (fine[..., far] == 0).all()
    assert (fine[..., 8:16, 12:20] > 0).all()
    torch.testing.assert_close(output.fused[..., far], upscaled(plain, (20, 28))[..., far], **EQUAL)


def test_a_window_that_is_the_image_needs_no_mask() -> None:
    head = build()
    context, detail = normal("context", 2, 3, 3, 4), normal("detail", 2, 4, *GRID)
    output = head([context], lambda: detail, (0, 40, 0, 56), SIZE)
    attention = head.scale_attention([context]).sigmoid()
    expected = upscaled(attention, GRID) * detail
    expected += upscaled((1 - attention) * head.head([context]), GRID)
    torch.testing.assert_close(output.fused, expected, **EQUAL)


def test_the_window_of_one_pixel_more_than_a_cell_starts_at_its_cell() -> None:
    """An image of 41×57 pixels has 6×8 cells; a box from (17, 9) starts in the cell (2, 1)."""
    head = build(fixed_attention=1)
    detail = normal("detail", 1, 4, 3, 6)
    fused = head([normal("c", 1, 3, 3, 4)], lambda: detail, (17, 41, 9, 57), (41, 57)).fused
    assert fused.shape == (1, 4, 6, 8)
    torch.testing.assert_close(fused[:, :, 3:5, 2:7], detail[:, :, 1:3, 1:6], **EQUAL)


class TestFixedAttention:
    def test_it_replaces_the_attention_head(self) -> None:
        head = build(fixed_attention=0.25)
        assert head.scale_attention is None
        context, detail = normal("context", 2, 3, 3, 4), normal("detail", 2, 4, *GRID)
        output = head([context], lambda: detail, (0, 40, 0, 56), SIZE)
        expected = 0.25 * detail + 0.75 * upscaled(head.single_scale([context]), GRID)
        torch.testing.assert_close(output.fused, expected, **EQUAL)

    def test_a_trained_network_can_be_told_to_listen_to_one_scale(self) -> None:
        head = build()
        context, detail = normal("context", 2, 3, 3, 4), normal("detail", 2, 4, *GRID)
        learned = head([context], lambda: detail, (0, 40, 0, 56), SIZE).fused
        head.fixed_attention = 1
        fused = head([context], lambda: detail, (0, 40, 0, 56), SIZE).fused
        torch.testing.assert_close(fused, detail, **EQUAL)
        head.fixed_attention = 0.0
        fused = head([context], lambda: detail, (0, 40, 0, 56), SIZE).fused
        torch.testing.assert_close(fused, upscaled(head.single_scale([context]), GRID), **EQUAL)
        head.fixed_attention = None
        assert torch.equal(head([context], lambda: detail, (0, 40, 0, 56), SIZE).fused, learned)

    @pytest.mark.parametrize("value", [-0.1, 1.5])
    def test_other_values_are_rejected(self, value: float) -> None:
        with pytest.raises(ConfigError, match=f"fixed_attention.*expected .* got {value}"):
            build(fixed_attention=value)

    def test_without_a_learned_attention_there_is_no_way_back(self) -> None:
        head = build(fixed_attention=0.5)
        with pytest.raises(ConfigError, match="None needs a network that was built without it"):
            head.fixed_attention = None


@pytest.mark.parametrize(("detail_share", "context_share"), [(0.1, 0), (0.3, 0.2), (0, 0.4)])
def test_the_shares_of_the_losses(detail_share: float, context_share: float) -> None:
    """(1-λ_d-λ_c)·CE(fused) + λ_d·CE(detail on the cut label) + λ_c·CE(context), all weighted."""
    head = build(hr_loss_weight=detail_share, lr_loss_weight=context_share)
    detail = normal("detail", 2, 4, 3, 4)
    output = head([normal("context", 2, 3, 3, 4)], lambda: detail, BOX, SIZE)
    label = some_labels()
    weight = normal("weight", 2, *SIZE).abs()

    def cross_entropy(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        logits = F.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, label, reduction="none", ignore_index=255)
        return (loss * weight).mean()

    y1, y2, x1, x2 = BOX
    cut, cut_weight = label[:, y1:y2, x1:x2], weight[:, y1:y2, x1:x2]
    main = 1 - detail_share - context_share
    expected = {"loss_seg": main * cross_entropy(output.fused, label, weight)}
    if detail_share:
        expected["hr.loss_seg"] = detail_share * cross_entropy(detail, cut, cut_weight)
    if context_share:
        expected["lr.loss_seg"] = context_share * cross_entropy(output.context, label, weight)
    losses = head.losses(output, label[:, None], weight)
    assert {k for k in losses if "loss" in k} == set(expected)
    assert {k.replace("acc", "loss") for k in losses} == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value, **EQUAL)
    hits = F.interpolate(detail, cut.shape[1:], mode="bilinear").argmax(1) == cut
    if detail_share:  # percent of the window, not multiplied by its share
        assert losses["hr.acc_seg"].item() == pytest.approx(100 * hits.double().mean().item())


def some_labels() -> Tensor:
    label = (normal("label", 2, *SIZE).abs() * 3).long().clamp(max=3)
    label[normal("ignored", 2, *SIZE) > 1.5] = 255
    return label


def test_half_precision_ends_at_the_logits() -> None:
    head = build(hr_loss_weight=0.1).float()
    features = [normal("context", 2, 3, 3, 4).float()]
    detail = [normal("detail", 2, 3, *GRID).float()]
    with torch.autocast("cpu", torch.bfloat16):
        assert head.head(features).dtype == torch.bfloat16
        output = head(features, lambda: head.single_scale(detail), (0, 40, 0, 56), SIZE)
    parts = (output.fused, output.context, output.detail, output.attention)
    assert all(part.dtype == torch.float32 for part in parts)


class TestAttentionHead:
    def test_daformers_has_256_channels_and_a_pointwise_fusion_with_the_same_norm(self) -> None:
        main = models_cfg.daformer_head([16, 32, 40, 64], channels=24, embed=12, fus="sepaspp")
        main["norm_cfg"] = main["decoder_params"]["fusion_cfg"]["norm_cfg"] = {
            "type": "GN",
            "num_groups": 4,
        }
        head: Any = HEADS.build({**main, "type": "HRDAHead", "single_scale_head": "DAFormerHead"})
        fuse = head.scale_attention.fuse_layer
        assert fuse.conv.weight.shape == (256, 1024, 1, 1)
        assert fuse.gn.num_groups == 4
        assert isinstance(fuse.activate, torch.nn.ReLU)
        assert head.scale_attention.embed_layers[1].proj.weight.shape == (256, 32)
        assert head.scale_attention.conv_seg.weight.shape == (19, 256, 1, 1)
        assert head.head.conv_seg.weight.shape == (19, 24, 1, 1)

    def test_daformers_keeps_another_fusion(self) -> None:
        main = models_cfg.daformer_head([16, 32, 40, 64], channels=24, embed=12, fus="conv3")
        head: Any = HEADS.build({**main, "type": "HRDAHead", "single_scale_head": "DAFormerHead"})
        assert head.scale_attention.fuse_layer.conv.weight.shape == (256, 1024, 3, 3)

    def test_deeplabs_is_like_the_main_head_with_own_weights(self) -> None:
        head = HEADS.build(cfg(attention_classwise=False, dilations=(2, 3)))
        shapes = [tuple(p.shape) for p in head.scale_attention.parameters()]
        assert shapes == [(1, 3, 3, 3), (1,)] * 2
        assert [tuple(p.shape) for p in head.head.parameters()] == [(4, 3, 3, 3), (4,)] * 2

    def test_both_heads_are_initialized(self) -> None:
        head = build()
        head.init_weights()
        for part in (head.head, head.scale_attention):
            conv = part.aspp_modules[0].conv
            assert conv.weight.abs().max() < 0.1
            assert (conv.bias == 0).all()


class TestMistakes:
    def test_an_unknown_key_suggests_the_nearest_of_both_heads(self) -> None:
        with pytest.raises(ConfigError, match="'hr_loss_wieght' in decode head 'HRDAHead'.*weight"):
            build(hr_loss_wieght=0.1)
        with pytest.raises(ConfigError, match="'dilation' in decode head 'HRDAHead'.*'dilations'"):
            build(dilation=(1,))

    def test_a_key_of_another_single_scale_head_is_unknown(self) -> None:
        with pytest.raises(ConfigError, match="unknown key 'decoder_params'"):
            build(decoder_params={})

    def test_a_key_that_the_single_scale_head_needs_is_named(self) -> None:
        broken = cfg()
        del broken["in_channels"]
        with pytest.raises(ConfigError, match="'HRDAHead' needs the key 'in_channels'"):
            HEADS.build(broken)

    def test_an_unknown_single_scale_head_suggests_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="got 'DLV3Head'. Did you mean 'DLV2Head'"):
            build(single_scale_head="DLV3Head")

    def test_a_head_whose_output_stride_is_unknown_is_rejected(self) -> None:
        with pytest.raises(
            ConfigError, match="single_scale_head.*'DAFormerHead' or 'DLV2Head', got 'HRDAHead'"
        ):
            HEADS.build({"type": "HRDAHead", "single_scale_head": "HRDAHead"})

    @pytest.mark.parametrize("shares", [(0.7, 0.4), (-0.1, 0.2)])
    def test_shares_beyond_the_whole_are_rejected(self, shares: tuple[float, float]) -> None:
        with pytest.raises(ConfigError, match="hr_loss_weight.*expected|expected hr_loss_weight"):
            build(hr_loss_weight=shares[0], lr_loss_weight=shares[1])
