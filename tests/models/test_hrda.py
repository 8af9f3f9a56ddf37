"""HRDA's network: order of the passes, views of features, attention maps, mistakes."""

from typing import Any

import models_cfg
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hrda_networks import WINDOW, FixedBox, build, cfg, labels
from network_records import EQUAL, normal

from mmseg.models import build_segmentor
from mmseg.models.segmentors import HRDAEncoderDecoder
from mmseg.system.errors import ConfigError


def test_the_order_of_the_passes() -> None:
    """It decides what batch norms remember, and which numbers dropout draws."""
    network, calls = build(), []
    head = network.decode_head
    parts = {"backbone": network.backbone, "head": head.head, "attention": head.scale_attention}
    for name, part in parts.items():
        part.register_forward_hook(lambda *call, name=name: calls.append(name))
    network.train_logits(normal("image", 2, 3, 60, 96), None)
    assert calls == ["backbone", "backbone", "head", "head", "attention"]
    assert network.backbone.seen == [(2, 3, 30, 48), (2, 3, *WINDOW)]


def test_a_context_as_large_as_a_window_goes_through_the_backbone_with_the_detail() -> None:
    image, box = normal("image", 2, 3, 64, 96), FixedBox(16, 48, 32, 80)
    network, separate = build(True), build(True)
    separate.backbone.norm = torch.nn.BatchNorm2d(3)  # not used; in training, each is on its own
    joint, alone = (each.train().train_logits(image, None, box) for each in (network, separate))
    torch.testing.assert_close(joint, alone, **EQUAL)
    assert network.backbone.seen == [(4, 3, *WINDOW)]
    assert separate.backbone.seen == [(2, 3, *WINDOW)] * 2
    network.encode_decode(image)
    separate.eval().encode_decode(image)
    assert network.backbone.seen[1:] == [(20, 3, *WINDOW)]  # with all windows
    assert separate.backbone.seen[2:] == [(4, 3, *WINDOW)] + [(2, 3, *WINDOW)] * 8


def test_the_images_of_the_scales() -> None:
    image = normal("image", 2, 3, 64, 96)
    network = build(blur_hr_crop=True)
    half = image.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))  # bilinear ×0.5 averages 2×2
    torch.testing.assert_close(network.context_image(image), half, **EQUAL)
    blurred = network.detail_image(image)
    expected = F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(blurred, expected, **EQUAL)
    assert network.context_image(image).shape == (2, 3, 32, 48)
    assert build().detail_image(image) is image


def test_two_scales_of_one_show_the_whole_image_twice() -> None:
    network = build(scales=[1, 1], feature_scale=1, hr_slide_inference=False)
    image = normal("image", 2, 3, 64, 96)
    fused = network.encode_decode(image, upscale_pred=False)
    direct = network.decode_head.head(network.backbone(image))  # a·x + (1-a)·x
    torch.testing.assert_close(fused, direct, **EQUAL)
    box = FixedBox(16, 48, 32, 80)
    features = network.forward_train(image, None, labels(2, 1, 64, 96), None, True, draws=box)
    views = network.feature_views(features["features"], image, labels(2, 1, 64, 96))
    assert len(views) == 1
    assert views[0].image is image


@pytest.mark.parametrize("size", [(64, 96), (45, 71)])
@pytest.mark.parametrize("slides", [True, False])
def test_an_evaluation_of_the_context_alone_leaves_the_details_out(
    size: tuple[int, int], slides: bool
) -> None:
    """It equals the prediction with details, which a batch norm in train mode still sees."""
    network = build(True, hr_slide_inference=slides)
    network.decode_head.fixed_attention = 0
    image = normal("image", 2, 3, *size)
    alone = network.encode_decode(image, upscale_pred=False)
    assert network.backbone.seen == [(2, 3, size[0] // 2, size[1] // 2)]
    with_details = network.train().encode_decode(image, upscale_pred=False)
    images = sum(count for count, *_ in network.backbone.seen)
    assert images > 4  # which both contexts have together
    torch.testing.assert_close(alone, with_details, **EQUAL)
    assert alone.unique().numel() > 100


class TestFeatureViews:
    image, label = normal("image", 2, 3, 64, 96), labels(2, 1, 64, 96)

    def views(self, **changes: Any) -> tuple[Any, list[Any]]:
        network, box = build(**changes), FixedBox(16, 48, 32, 80)
        losses = network.forward_train(
            self.image, None, self.label, return_feat=True, return_logits=True, draws=box
        )
        features = losses["features"]
        assert features.box == (16, 48, 32, 80)
        return network, network.feature_views(features, self.image, self.label)

    @pytest.mark.parametrize("changes", [{}, {"feature_scale": 0.5}])
    def test_the_context_is_compared_with_the_small_image_and_the_whole_label(
        self, changes: dict[str, Any]
    ) -> None:
        network, views = self.views(**changes)
        assert len(views) == 1
        assert views[0].label is self.label
        assert torch.equal(views[0].image, network.context_image(self.image))
        assert torch.equal(views[0].feature, network.extract_feat(views[0].image)[-1])

    def test_all_scales_add_the_detail_on_its_part_of_image_and_label(self) -> None:
        network, views = self.views(feature_scale="all", blur_hr_crop=True)
        assert len(views) == 2
        cut = (..., slice(16, 48), slice(32, 80))
        assert torch.equal(views[1].label, self.label[cut])
        assert torch.equal(views[1].image, network.detail_image(self.image)[cut])
        assert torch.equal(views[1].feature, network.extract_feat(views[1].image)[-1])

    def test_a_network_of_one_scale_has_one_view(self) -> None:
        network = build_segmentor(models_cfg.daformer())
        feature = normal("feature", 1, 4, 2, 3)
        views = network.feature_views([None, feature], self.image, self.label)
        assert [(v.feature, v.image, v.label) for v in views] == [(feature, self.image, self.label)]


class TestAttentionMap:
    image, metas = normal("image", 2, 3, 64, 96), [{"ori_shape": (128, 192, 3)}] * 2

    def test_it_is_the_mean_attention_of_the_predicted_classes(self) -> None:
        network, outputs = build(True), []
        network.decode_head.register_forward_hook(lambda *call: outputs.append(call[-1]))
        attention = network.attention_map(self.image, self.metas)
        probability = outputs[0].fused.exp() / outputs[0].fused.exp().sum(1, keepdim=True)
        coarse = sum(outputs[0].attention[:, c] * probability[:, c] for c in range(5))
        expected = F.interpolate(coarse[:, None], (64, 96), mode="bilinear")[:, 0]
        torch.testing.assert_close(attention, expected, **EQUAL)
        assert 0 < attention.min() < attention.max() < 1

    def test_it_is_what_was_fixed(self) -> None:
        slide = {"mode": "slide", "crop_size": (48, 64), "stride": (32, 40)}
        network = build(head={"fixed_attention": 0.25}, test_cfg=slide)
        attention = network.attention_map(self.image, self.metas, rescale=True)
        expected = torch.full((2, 128, 192), 0.25, dtype=torch.float64)
        torch.testing.assert_close(attention, expected, **EQUAL)

    def test_windows_are_averaged_and_flips_undone(self) -> None:
        slide = {"mode": "slide", "crop_size": (64, 96), "stride": (64, 96)}
        whole = build(head={"attention_classwise": False}).attention_map(self.image, self.metas)
        network = build(head={"attention_classwise": False}, test_cfg=slide)
        torch.testing.assert_close(network.attention_map(self.image), whole, **EQUAL)
        turned = [{**meta, "flip": True, "flip_direction": "vertical"} for meta in self.metas]
        flipped = network.attention_map(self.image.flip(2), turned)
        torch.testing.assert_close(flipped, whole, **EQUAL)


def test_training_returns_on_request_what_a_debug_panel_shows() -> None:
    network, image, label = build(), normal("image", 2, 3, 64, 96), labels(2, 1, 64, 96)
    plain = network.forward_train(image, None, label)
    assert set(plain) == {
        f"decode.{k}" for k in ("loss_seg", "acc_seg", "hr.loss_seg", "hr.acc_seg")
    }
    box = FixedBox(16, 48, 32, 80)
    full = network.forward_train(image, None, label, return_logits=True, draws=box)
    logits = network.train_logits(image, None, box)
    torch.testing.assert_close(full["decode.logits"], logits, **EQUAL)
    pictures = full["decode.pictures"]
    shapes = {name: tuple(value.shape) for name, value in pictures.items()}
    assert shapes == {
        "high_resolution": (2, 4, 6),
        "low_resolution": (2, 4, 6),
        "attention": (2, 8, 12),
        "cropped_label": (2, 32, 48),
    }
    assert torch.equal(pictures["cropped_label"], label[:, 0, 16:48, 32:80])
    assert not any(value.requires_grad for value in pictures.values())


def test_a_training_pass_never_reads_a_value_back() -> None:
    """On the meta device there are no values: any `.item()` or data-dependent shape would raise."""
    with torch.device("meta"):
        network = build_segmentor(models_cfg.hrda()).train()
        image, label = torch.rand(2, 3, 128, 160), torch.zeros(2, 1, 128, 160, dtype=torch.int64)
        losses = network.forward_train(image, [{}] * 2, label, torch.rand(2, 128, 160))
        (losses["decode.loss_seg"] + losses["decode.hr.loss_seg"]).backward()
        assert network.generate_pseudo_label(image, [{}] * 2).shape == (2, 19, 128, 160)


def test_old_names_build_the_same_network() -> None:
    old = models_cfg.hrda(channels=16, embed=16)
    new = build_segmentor(old).state_dict()
    old["type"] = "MultiResEncoderDecoder"
    old["decode_head"].update(type="MultiResAttentionWrapper", single_scale_head="UniHead")
    network = build_segmentor(old)
    assert isinstance(network, HRDAEncoderDecoder)
    assert list(network.state_dict()) == list(new)


def test_predictions_are_label_maps_of_the_original_size() -> None:
    image, metas = normal("image", 2, 3, 64, 96), [{"ori_shape": (128, 192, 3)}] * 2
    maps = build()(return_loss=False, img=[image], img_metas=[metas])
    assert [each.shape for each in maps] == [(128, 192)] * 2
    assert len(np.unique(np.stack(maps))) > 1


class TestMistakes:
    @pytest.mark.parametrize("scales", [[1], [0.5, 2], [0.25, 0.5], [0, 1], [1, 0.5, 0.25]])
    def test_scales_are_two_and_the_larger_is_one(self, scales: list[float]) -> None:
        with pytest.raises(ConfigError, match="(scales.*)?expected .*(scales.*)? got"):
            build(scales=scales)

    @pytest.mark.parametrize("scale", [1, 0.25, "every"])
    def test_a_feature_scale_that_no_context_has_is_rejected(self, scale: Any) -> None:
        with pytest.raises(ConfigError, match=f"feature_scale.* got {scale!r}"):
            build(feature_scale=scale)

    def test_an_unknown_key_suggests_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="unknown key 'hr_crop'.*'hr_crop_size'"):
            build(hr_crop=WINDOW)
        with pytest.raises(ConfigError, match="unknown key 'backbones'.*'backbone'"):
            build(backbones={})

    def test_a_head_of_one_scale_is_rejected(self) -> None:
        broken = cfg()
        broken["decode_head"] = models_cfg.daformer_head([3, 3, 3, 3])
        with pytest.raises(ConfigError, match="expected a decode_head of type 'HRDAHead'"):
            build_segmentor(broken)

    def test_auxiliary_heads_are_rejected(self) -> None:
        with pytest.raises(ConfigError, match="and no auxiliary_head"):
            build(auxiliary_head=models_cfg.daformer_head([3, 3, 3, 3]))

    @pytest.mark.parametrize("size", [(32,), (0, 48), (32, 48, 3)])
    def test_a_crop_size_has_two_positive_numbers(self, size: tuple[int, ...]) -> None:
        with pytest.raises(ConfigError, match=r"hr_crop_size.*expected .* got"):
            build(hr_crop_size=size)

    @pytest.mark.parametrize(("size", "overlapping"), [((32, 52), False), ((24, 48), True)])
    def test_windows_between_cells_are_rejected(
        self, size: tuple[int, int], overlapping: bool
    ) -> None:
        with pytest.raises(ConfigError, match="as multiples of the head's output stride 8"):
            build(hr_crop_size=size, hr_slide_overlapping=overlapping)

    def test_a_divisor_is_positive(self) -> None:
        with pytest.raises(ConfigError, match="crop_coord_divisible.* at least 1, got 0"):
            build(crop_coord_divisible=0)
