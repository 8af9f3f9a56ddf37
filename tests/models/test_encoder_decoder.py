"""EncoderDecoder: recorded predictions (golden C2), losses, test-time augmentation, mistakes."""

import json

import models_cfg
import numpy as np
import pytest
import torch
from golden_init import init_module
from network_records import (
    EQUAL,
    NOISE,
    assert_matches_statistics,
    filled,
    normal,
    recorded_arrays,
)
from torch import nn

from mmseg.models import BACKBONES, HEADS, build_segmentor, build_train_model
from mmseg.models.decode_heads import BaseDecodeHead
from mmseg.system.errors import ConfigError

SLIDE = {"mode": "slide", "stride": (64, 48), "crop_size": (96, 96)}
TEST_CFGS = {"whole": {"mode": "whole"}, "slide": SLIDE, "slideb": {**SLIDE, "batched_slide": True}}
SMALL_META = {"ori_shape": (150, 210, 3), "flip": False}
FLIPPED_META = {"ori_shape": (300, 420, 3), "flip": True, "flip_direction": "horizontal"}


@BACKBONES.register("pointwise_test_backbone", force=True)
class PointwiseBackbone(nn.Module):
    """Two features that depend on a single pixel each, so that geometry can be tested exactly."""

    def __init__(self, pretrained: str | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)
        self.pretrained = pretrained

    def forward(self, x):
        return [self.conv(x), x]


@HEADS.register("pointwise_test_head", force=True)
class PointwiseHead(BaseDecodeHead):
    def forward(self, inputs):
        return self.cls_seg(self.select_inputs(inputs)[0])


def pointwise_cfg(**changes):
    head = {
        "type": "pointwise_test_head",
        "in_channels": 6,
        "in_index": 0,
        "channels": 6,
        "num_classes": 5,
        "dropout_ratio": 0,
    }
    return {
        "type": "EncoderDecoder",
        "backbone": {"type": "pointwise_test_backbone"},
        "decode_head": head,
        **changes,
    }


@pytest.fixture
def pointwise():
    return filled(build_segmentor(pointwise_cfg())).eval()


@pytest.fixture(scope="module", params=list(TEST_CFGS))
def recorded_network(request):
    cfg = models_cfg.daformer(test_cfg=TEST_CFGS[request.param])
    return request.param, filled(build_segmentor(cfg)).eval()


def assert_same_labels(ours, recorded):
    assert ours.shape == recorded.shape
    assert (ours != recorded).sum() == 0


def test_daformer_logits_equal_the_recorded_ones(golden):
    dump = json.loads((golden / "B" / "config_dump.json").read_text())
    cfg = dump["configs/cdda/gta2cs_cdda_daformer.py"]["model"]
    network = filled(build_segmentor({**cfg, "pretrained": None})).eval()
    image = normal("C2:input", 1, 3, 128, 128)
    with torch.no_grad():
        coarse = network.encode_decode(image, upscale_pred=False)
        logits = network.encode_decode(image)
    arrays = recorded_arrays("C2_daformer.npz")
    np.testing.assert_allclose(coarse, arrays["b5_logits_os4"], **NOISE)
    np.testing.assert_allclose(logits[:, :, ::2, ::2], arrays["b5_logits_every2"], **NOISE)
    assert_matches_statistics(logits, "C2/b5_logits")


def test_probabilities_and_labels_equal_the_recorded_ones(recorded_network):
    mode, network = recorded_network
    arrays = recorded_arrays("C2_daformer.npz")
    image = normal("C2:slide", 1, 3, 150, 210)
    with torch.no_grad():
        probability = network.inference(image, [SMALL_META], rescale=True)
        flipped = network.inference(image, [FLIPPED_META], rescale=True)
    every4 = probability[:, :, ::4, ::4]
    np.testing.assert_allclose(every4, arrays[f"b0_{mode}_prob_every4"], **NOISE)
    assert_matches_statistics(probability, f"C2/{mode}_prob")
    assert_matches_statistics(flipped, f"C2/{mode}_flip_rescale_prob")
    label = probability.argmax(1)[0].numpy()
    assert_same_labels(label, arrays[f"b0_{mode}_pred"])
    assert_same_labels(flipped.argmax(1).numpy(), arrays[f"b0_{mode}_flip_rescale_pred"])


def test_two_augmentations_are_averaged_as_recorded():
    network = filled(build_segmentor(models_cfg.daformer())).eval()
    image = normal("C2:slide", 1, 3, 150, 210)
    plain = {"ori_shape": (300, 420, 3), "flip": False}
    labels = network(
        return_loss=False,
        img=[image, image.flip(3)],
        img_metas=[[plain], [FLIPPED_META]],
        rescale=True,
    )
    assert_same_labels(labels[0], recorded_arrays("C2_daformer.npz")["b0_aug_test_pred"])


@pytest.mark.parametrize(("direction", "axis"), [("horizontal", 3), ("vertical", 2)])
def test_flips_of_the_input_are_undone(pointwise, direction, axis):
    image = normal("image", 2, 3, 7, 9)
    straight = {"ori_shape": (7, 9, 3)}
    turned = {**straight, "flip": True, "flip_direction": direction}
    expected = pointwise.inference(image, [straight] * 2)
    restored = pointwise.inference(image.flip(axis), [turned] * 2)
    torch.testing.assert_close(restored, expected, **EQUAL)


def test_predictions_are_label_maps_of_the_original_size(pointwise):
    image, meta = normal("image", 2, 3, 8, 10), {"ori_shape": (16, 20, 3)}
    labels = pointwise(return_loss=False, img=[image], img_metas=[[meta] * 2], rescale=True)
    assert [label.shape for label in labels] == [(16, 20)] * 2
    assert all(label.dtype.kind == "i" and label.min() >= 0 for label in labels)
    unscaled = pointwise(return_loss=False, img=[image], img_metas=[[meta] * 2], rescale=False)
    expected = pointwise.encode_decode(image).argmax(1)
    assert np.array_equal(np.stack(unscaled), expected)


def test_augmentations_of_several_sizes_are_averaged_at_the_original_size(pointwise):
    images = [
        normal(f"image{i}", 1, 3, *size) for i, size in enumerate([(6, 8), (9, 12), (12, 16)])
    ]
    metas = [[{"ori_shape": (12, 16, 3)}]] * 3
    with torch.no_grad():
        mean = sum(pointwise.inference(i, m) for i, m in zip(images, metas, strict=True)) / 3
    assert np.array_equal(pointwise.aug_test(images, metas)[0], mean.argmax(1)[0])


def test_pseudo_labels_come_from_the_logits_at_input_size(pointwise):
    image = normal("image", 2, 3, 7, 9)
    logits = pointwise.generate_pseudo_label(image, [{}] * 2)
    torch.testing.assert_close(logits, pointwise.encode_decode(image, [{}] * 2), **EQUAL)
    assert logits.shape == (2, 5, 7, 9)


def test_training_returns_scalars_and_on_request_features_and_logits():
    network = build_segmentor(models_cfg.daformer()).double().train()
    image, label = normal("image", 2, 3, 64, 96), torch.zeros(2, 1, 64, 96, dtype=torch.int64)
    plain = network.forward_train(image, [{}] * 2, label)
    assert set(plain) == {"decode.loss_seg", "decode.acc_seg"}
    assert all(value.shape == () for value in plain.values())
    full = network.forward_train(image, [{}] * 2, label, return_feat=True, return_logits=True)
    assert [f.shape[1] for f in full["features"]] == [32, 64, 160, 256]
    assert full["decode.logits"].shape == (2, 19, 16, 24)


def test_pixel_weights_scale_the_loss(pointwise):
    image, label = normal("image", 2, 3, 6, 8), torch.ones(2, 1, 6, 8, dtype=torch.int64)
    weight = torch.full((2, 6, 8), 0.25, dtype=torch.float64)
    plain = pointwise.forward_train(image, None, label)["decode.loss_seg"]
    weighted = pointwise.forward_train(image, None, label, weight)["decode.loss_seg"]
    torch.testing.assert_close(weighted, 0.25 * plain, **EQUAL)


def test_a_training_pass_never_reads_a_value_back():
    """On the meta device there are no values: any `.item()` or data-dependent shape would raise."""
    cfg = models_cfg.daformer()
    cfg["decode_head"]["loss_decode"] = {"type": "CrossEntropyLoss", "class_weight": [1.0] * 19}
    with torch.device("meta"):
        network = build_segmentor(cfg).train()
        image, label = torch.rand(2, 3, 64, 96), torch.zeros(2, 1, 64, 96, dtype=torch.int64)
        losses = network(image, [{}] * 2, gt_semantic_seg=label, seg_weight=torch.rand(2, 64, 96))
        losses["decode.loss_seg"].backward()
    assert losses["decode.acc_seg"].device.type == "meta"


def test_one_auxiliary_head_or_several_are_trained_but_not_asked():
    aux = {**pointwise_cfg()["decode_head"], "in_channels": 3, "in_index": 1, "channels": 3}
    image, label = normal("image", 2, 3, 6, 8), torch.ones(2, 1, 6, 8, dtype=torch.int64)
    one = build_segmentor(pointwise_cfg(auxiliary_head=aux)).double()
    losses = one.forward_train(image, None, label)
    assert {"decode.loss_seg", "aux.loss_seg", "aux.acc_seg"} <= set(losses)
    two = build_segmentor(pointwise_cfg(auxiliary_head=[aux, aux])).double()
    losses = two.forward_train(image, None, label)
    assert {"aux_0.loss_seg", "aux_1.loss_seg"} <= set(losses)
    assert "auxiliary_head.1.conv_seg.weight" in two.state_dict()


def test_init_weights_reaches_backbone_and_heads(tmp_path):
    cfg = models_cfg.daformer()
    source = init_module(BACKBONES.build(cfg["backbone"]))
    torch.save(source.state_dict(), tmp_path / "mit_b0.pth")
    network = build_segmentor({**cfg, "pretrained": str(tmp_path / "mit_b0.pth")})
    network.init_weights()
    assert torch.equal(network.backbone.norm4.bias, source.norm4.bias)
    assert (network.decode_head.conv_seg.bias == 0).all()


def test_properties_are_those_of_the_head(pointwise):
    assert (pointwise.num_classes, pointwise.align_corners) == (5, False)


def test_a_config_without_uda_builds_supervised_training_and_stays_unchanged():
    cfg = {"model": pointwise_cfg(), "runner": {"max_iters": 7}}
    method = build_train_model(cfg, test_cfg={"mode": "whole"})
    assert type(method).__name__ == "Supervised"
    assert cfg == {"model": pointwise_cfg(), "runner": {"max_iters": 7}}


class TestMistakes:
    def test_unknown_mode_suggests_the_nearest(self):
        with pytest.raises(ConfigError, match="mode.* got 'slid'. Did you mean 'slide'"):
            build_segmentor(pointwise_cfg(test_cfg={"mode": "slid"}))

    def test_unknown_test_key_suggests_the_nearest(self):
        with pytest.raises(ConfigError, match="'strid' in test_cfg; did you mean 'stride'"):
            build_segmentor(pointwise_cfg(test_cfg={"mode": "whole", "strid": (1, 1)}))

    def test_slide_needs_crop_size_and_stride(self):
        with pytest.raises(ConfigError, match=r"expected test_cfg.stride=\(rows, columns\)"):
            build_segmentor(pointwise_cfg(test_cfg={"mode": "slide", "crop_size": (8, 8)}))

    def test_a_stride_beyond_the_crop_is_found_at_start(self):
        slide = {"mode": "slide", "crop_size": (8, 8), "stride": (8, 9)}
        with pytest.raises(ConfigError, match="between 1 and the crop size 8, got 9"):
            build_segmentor(pointwise_cfg(test_cfg=slide))

    def test_two_pretrained_files_are_one_too_many(self):
        backbone = {"type": "mit_b0", "pretrained": "a.pth"}
        with pytest.raises(ConfigError, match="expected one `pretrained`, got 'b.pth'"):
            build_segmentor(pointwise_cfg(backbone=backbone, pretrained="b.pth"))

    def test_a_misspelt_model_key_suggests_the_nearest(self):
        with pytest.raises(ConfigError, match="unknown key 'decodehead'.*'decode_head'"):
            build_segmentor({**pointwise_cfg(), "decodehead": {}})

    def test_bare_tensors_instead_of_lists_are_explained(self, pointwise):
        with pytest.raises(TypeError, match=r"wrap a single image as img=\[img\]"):
            pointwise(return_loss=False, img=normal("i", 1, 3, 4, 5), img_metas=[{}])

    def test_unequal_numbers_of_images_and_metas_are_explained(self, pointwise):
        with pytest.raises(ValueError, match="as many images as metas, got 1 and 2"):
            pointwise.forward_test([normal("i", 1, 3, 4, 5)], [[{}], [{}]])

    def test_images_of_several_original_sizes_are_rejected(self, pointwise):
        metas = [{"ori_shape": (8, 9, 3)}, {"ori_shape": (9, 8, 3)}]
        with pytest.raises(ValueError, match="images of one original size"):
            pointwise.inference(normal("i", 2, 3, 4, 5), metas)

    def test_an_unknown_flip_direction_is_rejected(self, pointwise):
        meta = {"ori_shape": (4, 5, 3), "flip": True, "flip_direction": "diagonal"}
        with pytest.raises(ValueError, match="among horizontal, vertical, got 'diagonal'"):
            pointwise.inference(normal("i", 1, 3, 4, 5), [meta])

    def test_several_augmentations_need_rescaling(self, pointwise):
        images, metas = [normal("i", 1, 3, 4, 5)] * 2, [[{"ori_shape": (4, 5, 3)}]] * 2
        with pytest.raises(ValueError, match="expected rescale=True"):
            pointwise.forward_test(images, metas, rescale=False)
