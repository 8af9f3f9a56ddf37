"""Whole networks of VFM-UDA and VFM-UDA++, and their heads: recorded outputs (golden V), errors."""

import math

import pytest
import torch
import torch.nn.functional as F
from golden_init import arr, blocky_labels
from network_records import EQUAL, normal
from timm_builds import tiny
from torch import nn
from vfm_records import (
    CASES,
    KINDS,
    TINY,
    assert_gradients,
    assert_recorded,
    fill,
    picture,
    segmentor,
    theirs,
)

from mmseg.models import HEADS, NECKS, build_segmentor
from mmseg.system.errors import ConfigError

ADAPTER = {"type": "ViTAdapter", "vit": TINY, "inner_size": 224}
PLAIN = {**TINY, "inner_size": 210, "final_norm": True, "mask_token": True}
SMALL_VIT = {"type": "TIMMBackbone", "model_name": "vit_small_patch14_dinov2"}


def labels(case):
    maps = [blocky_labels(f"V:{case}:gt{b}", 192, 192, range(19), 16, 0.05) for b in range(2)]
    return torch.from_numpy(maps[0]), torch.from_numpy(maps[1])


def uniform(case, *shape):
    return torch.from_numpy(arr(f"V:{case}:mask", shape, "uniform"))


def assert_trains_as_recorded(network, case, image, keep_mask, names):
    """Compare logits, cross-entropy over pixels that are not ignored, and its gradients."""
    logits_name, loss_name, gradients_name = names
    label = torch.stack(labels(case))
    given = {} if keep_mask is None else {"keep_mask": keep_mask}
    output = network.forward_train(image, None, label[:, None], return_logits=True, **given)
    logits = network.at_output_size(output["decode.logits"], image)
    assert_recorded(case, logits_name, logits)
    loss = F.cross_entropy(logits, label, ignore_index=255)
    loss.backward()
    name = "f64" if image.dtype == torch.float64 else "f32"
    recorded = CASES[case]["out"]
    assert float(loss.detach()) == pytest.approx(recorded[loss_name][name], rel=1e-6)
    tokens = {"token_masking.mask_token"} & recorded[gradients_name][name].keys()
    expected = {k: v for k, v in recorded[gradients_name][name].items() if k not in tokens}
    assert_gradients(network, expected, theirs, image.dtype)


class TestRecords:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_network_of_vfm_uda_plus_plus_equals_the_recorded_one(self, kind):
        network = fill(segmentor("PyramidHead", ADAPTER), "V:net:", theirs).to(kind).eval()
        image = picture("V:network:img", [2, 3, 192, 192], kind)
        logits = network.encode_decode(image)
        assert_recorded("network", "eval_logits", logits)
        assert_recorded("network", "eval_f4", network.extract_feat(image)[-1])
        keep, case = (uniform("network", 2, 1, 4, 4) > 0.7).to(kind), "network"
        label = torch.stack(labels(case))[:, None]
        names = ("train_logits", "loss", "gradnorm")
        assert_trains_as_recorded(network.train(), case, image, None, names)
        after = "after_train:encoder.norm4.running_var"
        assert_recorded(case, after, network.backbone.norm4.running_var)
        output = network.forward_train(image, None, label, return_logits=True, keep_mask=keep)
        masked = network.at_output_size(output["decode.logits"], image)
        assert_recorded(case, "train_masked_logits", masked)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_network_of_vfm_uda_equals_the_recorded_one(self, kind):
        case = "plain_network"
        network = fill(segmentor("LightHead", PLAIN), "V:plain:", theirs).to(kind).eval()
        image = picture(f"V:{case}:img", [2, 3, 192, 192], kind)
        assert_recorded(case, "eval_logits", network.encode_decode(image))
        assert_recorded(case, "features", network.extract_feat(image)[-1])
        keep = (uniform(case, 2, 225) >= 0.7).view(2, 1, 15, 15)
        names = ("masked_logits", "masked_loss", "masked_gradnorm")
        assert_trains_as_recorded(network.train(), case, image, keep, names)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_pyramid_equals_the_recorded_one(self, kind):
        head = HEADS.build({"type": "PyramidHead", "in_channels": 128, "num_classes": 19})

        def name(key):
            return key.replace("conv_seg", "out") if "conv_seg" in key else f"upscale.{key}"

        fill(head, "V:decoder:", name).to(kind)
        with torch.no_grad():
            head.conv_seg.weight /= 16  # not in this recording
        sizes = [(32, 48), (16, 24), (8, 12), (4, 6)]
        levels = [picture(f"V:decoder:f{i}", [2, 128, *s], kind) for i, s in enumerate(sizes, 1)]
        seen = []
        head.smooth_conv4.register_forward_hook(lambda *given: seen.append(given[2]))
        for mode in ("eval", "train"):
            assert_recorded("decoder", f"{mode}_logits", head.train(mode == "train")(levels))
            assert_recorded("decoder", f"{mode}_up", seen.pop())
        assert_recorded("decoder", "after_train:norm1.running_var", head.norm1.running_var)

    @pytest.mark.slow
    def test_the_real_small_network_equals_the_recorded_one(self):
        backbone = {"type": "ViTAdapter", "vit": SMALL_VIT}
        network = fill(segmentor("PyramidHead", backbone, 384), "V:full:", theirs).eval()
        image, case = picture("V:full_small:img", [1, 3, 1024, 1024], torch.float32), "full_small"
        with torch.no_grad():
            assert_recorded(case, "eval_logits", network.encode_decode(image), 10)
            assert_recorded(case, "eval_f4", network.extract_feat(image)[-1])
            keep = (uniform(case, 1, 1, 18, 18) > 0.7).float()
            features = network.backbone(image, keep_mask=keep)
            logits = network.decode_head(features)
            assert_recorded(case, "masked_logits", network.at_output_size(logits, image), 10)


class TestHeads:
    def test_the_pyramid_starts_as_published(self):
        """Kaiming-uniform numbers lie within ±√(6 / fan)."""
        head = HEADS.build({"type": "PyramidHead", "in_channels": 64, "num_classes": 19})
        head.init_weights()
        parts = dict(head.named_modules())
        fans = {"up_conv1": 64 * 4, "reduce_conv2": 64, "smooth_conv1": 32 * 9, "smooth_conv4": 72}
        for name, fan in fans.items():
            bound, weight = math.sqrt(6 / fan), parts[name].weight.detach()
            assert 0.95 * bound < float(weight.abs().max()) <= bound, name
            assert not parts[name].bias.any()
        assert parts["conv_seg"].bias is None
        assert float(head.conv_seg.weight.detach().std()) == pytest.approx(0.1, rel=0.25)
        norms = [m for m in head.modules() if isinstance(m, nn.SyncBatchNorm)]
        assert [m.momentum for m in norms] == [0.01] * 3

    def test_the_light_heads_classifier_starts_as_published(self):
        head = HEADS.build({"type": "LightHead", "in_channels": 64, "num_classes": 19})
        head.init_weights()
        assert float(head.conv_seg.weight.detach().std()) == pytest.approx(0.1, rel=0.25)
        assert head.conv_seg.bias is None

    @pytest.mark.parametrize(("kind", "width"), [("PyramidHead", 12), ("LightHead", 6)])
    def test_a_width_that_cannot_be_halved_is_an_error(self, kind, width):
        with pytest.raises(ConfigError, match=f"in_channels of a {kind} .* got {width}"):
            HEADS.build({"type": kind, "in_channels": width, "num_classes": 5})


class TestSimplePyramid:
    @pytest.mark.parametrize("places", [[-1, -1, -1, -1], [0, 1, 2, 2]])
    def test_heads_of_four_levels_work_on_a_plain_vit(self, places):
        fusion = {"type": "mlp", "act_cfg": None, "norm_cfg": None}
        params = {"embed_dims": 6, "embed_cfg": fusion, "embed_neck_cfg": fusion}
        levels = {"in_channels": [20] * 4, "in_index": [0, 1, 2, 3], "channels": 7}
        kinds = {
            "SegFormerHead": {"decoder_params": {"embed_dim": 6}},
            "DAFormerHead": {
                "decoder_params": {**params, "fusion_cfg": {**fusion, "type": "conv"}}
            },
        }
        neck = {"type": "SimplePyramid", "in_channels": 8, "out_channels": 20, "in_index": places}
        vit = {**SMALL_VIT, "model_kwargs": tiny().settings.model_kwargs, "out_indices": [0, 1, 2]}
        for kind, options in kinds.items():
            head = {"type": kind, "num_classes": 5, **levels, **options}
            network = build_segmentor(
                {"type": "EncoderDecoder", "backbone": vit, "neck": neck, "decode_head": head}
            )
            image = torch.rand(2, 3, 56, 84)
            sizes = [list(x.shape) for x in network.extract_feat(image)]
            assert sizes == [[2, 20, h, 3 * h // 2] for h in (16, 8, 4, 2)]
            network.forward_train(image, None, torch.zeros(2, 1, 56, 84).long())[
                "decode.loss_seg"
            ].backward()
            assert all(p.grad is not None for p in network.neck.parameters())

    def test_features_that_do_not_fit_are_named(self):
        neck = NECKS.build({"type": "SimplePyramid", "in_channels": 8, "in_index": [0, 1, 1, 1]})
        with pytest.raises(ConfigError, match=r"in_index \(0, 1, 1, 1\), got 1 features"):
            neck([torch.rand(1, 8, 4, 6)])
        with pytest.raises(ConfigError, match=r"with 8 channels, got \[8, 9\]"):
            neck([torch.rand(1, 8, 4, 6), torch.rand(1, 9, 4, 6)])
        with pytest.raises(ConfigError, match="in_channels of a SimplePyramid .* got 6"):
            NECKS.build({"type": "SimplePyramid", "in_channels": 6})


class TestMasks:
    def test_masked_patches_are_replaced_before_positions(self):
        network, keep = tiny(mask_token=True).double().eval(), torch.ones(2, 1, 2, 3)
        nn.init.normal_(network.mask_token)
        keep[0, 0, 1, 0] = keep[1, 0, 0, 2] = 0
        image = normal("image", 2, 3, 28, 42)
        tokens = network.embed(image, keep).patches.unflatten(1, (2, 3))
        plain = network.embed(image).patches.unflatten(1, (2, 3))
        assert torch.equal(tokens[keep[:, 0] > 0], plain[keep[:, 0] > 0])
        places = plain - network.network.patch_embed(image)
        expected = (network.mask_token + places)[keep[:, 0] == 0]
        torch.testing.assert_close(tokens[keep[:, 0] == 0], expected, **EQUAL)
        network(image, keep)[0].sum().backward()
        assert network.mask_token.grad.any()

    def test_without_a_mask_token_pixels_are_hidden(self):
        network, keep = tiny(inner_size=(28, 42)).eval(), torch.ones(2, 1, 3, 2)
        keep[0, 0, 2, 1] = 0
        image = torch.rand(2, 3, 50, 60)
        inner = F.interpolate(image, (28, 42), mode="bilinear")
        inner[0, :, 19:, 21:] = 0
        torch.testing.assert_close(network(image, keep)[0], network(inner)[0])

    def test_masks_that_do_not_fit_are_named(self):
        image = torch.rand(2, 3, 28, 42)
        with pytest.raises(ValueError, match=r"per patch, \(2, 1, 2, 3\), got \(2, 1, 3, 3\)"):
            tiny(mask_token=True)(image, torch.ones(2, 1, 3, 3))
        with pytest.raises(ValueError, match=r"of shape \(2, 1, rows, columns\), got \(2, 3, 3\)"):
            tiny()(image, torch.ones(2, 3, 3))

    def test_backbones_that_cannot_hide_are_named(self):
        head = {"type": "FCNHead", "in_channels": 512, "channels": 4, "num_classes": 3}
        resnet = {"type": "ResNet", "depth": 18}
        network = build_segmentor(
            {"type": "EncoderDecoder", "backbone": resnet, "decode_head": head}
        )
        label = torch.zeros(1, 1, 32, 64).long()
        with pytest.raises(ConfigError, match=r"TIMMBackbone, ViTAdapter\), got ResNet"):
            network.forward_train(torch.rand(1, 3, 32, 64), None, label, keep_mask=label[:, :, :2])


class TestTIMMBackbone:
    def test_a_frozen_backbone_never_trains(self):
        network = tiny(freeze=True, mask_token=True).train()
        assert not network.training and not network.network.training
        assert not any(p.requires_grad for p in network.parameters())
        assert not network(torch.rand(1, 3, 28, 42))[0].requires_grad

    def test_recomputed_activations_change_no_gradient(self):
        gradients = []
        for recomputes in (False, True):
            network = fill(tiny(with_cp=recomputes), "cp:").double().train()
            network(normal("image", 2, 3, 28, 42))[0].square().mean().backward()
            gradients.append({k: p.grad for k, p in network.named_parameters()})
        torch.testing.assert_close(*gradients, **EQUAL)
        from timm_builds import FAMILIES, build

        name, options = FAMILIES["residual"]
        assert build(name, model_kwargs=options, with_cp=True).network.grad_checkpointing
        with pytest.raises(ConfigError, match="recompute its activations .* Drop with_cp"):
            build("hrnet_w18_small", with_cp=True)
