"""The heads of the family: recorded outputs, losses and gradients (golden C4), and by hand.

DAFormer's and DeepLab-v2's heads have files of their own.
"""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from golden_init import blocky_labels
from network_records import (
    EQUAL,
    NOISE,
    RECORDS,
    assert_matches_statistics,
    filled,
    keys_and_shapes,
    normal,
    recorded_arrays,
)
from torch import Tensor, nn

from mmseg.models import HEADS, NECKS, build_segmentor, decode_heads
from mmseg.models.decode_heads.pooling import grid_means
from mmseg.models.losses import is_loss
from mmseg.system.errors import ConfigError

ELSEWHERE = {"DAFormerHead", "DLV2Head"}  # whose tests have files of their own
HEAD_RECORDS = {
    name: record
    for name, record in json.loads((RECORDS / "C4_heads.json").read_text()).items()
    if record["config"]["type"] not in ELSEWHERE
}
LEVELS = {
    "mit": [(16, 32), (32, 16), (40, 8), (64, 4)],  # (channels, rows and columns)
    "res": [(16, 32), (32, 16), (48, 16), (64, 16)],
}
OF_ONE_FEATURE = sorted({r["config"]["type"] for r in HEAD_RECORDS.values() if r["input"] == "res"})
OF_SEVERAL = sorted({r["config"]["type"] for r in HEAD_RECORDS.values() if r["input"] == "mit"})
POOLING = ["ASPPHead", "DepthwiseSeparableASPPHead", "PSPHead", "UPerHead"]


def features(kind: str) -> list[Tensor]:
    levels = enumerate(LEVELS[kind])
    return [normal(f"C4:{kind}{i}", 2, channels, size, size) for i, (channels, size) in levels]


@pytest.fixture(scope="module")
def label() -> Tensor:
    maps = [blocky_labels(f"C4:gt{b}", 128, 128, range(19), 16, 0.05) for b in range(2)]
    return torch.from_numpy(np.stack(maps))[:, None]


def small(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the config of a head with batch norm, 5 classes and 7 channels."""
    record = next(r for r in HEAD_RECORDS.values() if r["config"]["type"] == kind)
    cfg = {**copy.deepcopy(record["config"]), "num_classes": 5, "channels": 7}
    cfg |= {"in_channels": 9, "in_index": 1}
    if kind in OF_SEVERAL:
        cfg |= {"in_channels": [6, 9], "in_index": [0, 1]}
    if "c1_in_channels" in cfg:
        cfg |= {"c1_in_channels": 6}
    return {**cfg, **changes}


def small_features(images: int = 2) -> list[Tensor]:
    return [normal("fine", images, 6, 12, 14), normal("coarse", images, 9, 8, 10)]


@pytest.mark.parametrize("name", list(HEAD_RECORDS))
def test_keys_logits_losses_and_gradients_equal_the_recorded_ones(name: str, label: Tensor) -> None:
    record = HEAD_RECORDS[name]
    levels = features(record["input"])
    head = HEADS.build(copy.deepcopy(record["config"]))
    assert keys_and_shapes(head) == record["keys"]
    with torch.no_grad():
        logits = filled(head).eval()(levels)
    np.testing.assert_allclose(logits, recorded_arrays("C4_heads.npz")[f"{name}_eval"], **NOISE)
    losses = head.train().forward_train(levels, None, label)
    assert list(losses) == list(record["train_losses"])
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(record["train_losses"], 1e-6)
    sum(value for key, value in losses.items() if is_loss(key)).backward()
    norms = {k: p.grad.norm().item() for k, p in head.named_parameters() if p.grad is not None}
    # The recording is up to 3e-5 away where attention has small gradients, and holds rounding
    # (2e-6) as the gradient of biases in front of a batch norm, which have none.
    assert norms == pytest.approx(record["grad_norms"], rel=3e-5, abs=3e-6)


def test_every_recorded_head_is_compared_and_can_be_imported() -> None:
    recorded = {r["config"]["type"] for r in HEAD_RECORDS.values()} | ELSEWHERE
    assert len(recorded) == 10
    assert recorded <= set(HEADS.names())
    assert all(getattr(decode_heads, kind) is HEADS.get(kind) for kind in recorded)


@pytest.mark.parametrize("kind", POOLING)
def test_pooling_a_single_image_into_one_pixel_is_refused_in_training(kind: str) -> None:
    """Batch norm would see one value; torch's own words for it name a size, not the remedy."""
    head, one = HEADS.build(small(kind)).double(), small_features(images=1)
    with pytest.raises(ConfigError, match=r"two images per process.* got one\. Raise data\.sampl"):
        head.train()(one)
    assert head.eval()(one).shape[:2] == (1, 5)
    without_norm = HEADS.build(small(kind, norm_cfg=None)).double()
    assert without_norm.train()(one).shape[:2] == (1, 5)


@pytest.mark.parametrize("kind", OF_ONE_FEATURE)
def test_heads_of_one_feature_refuse_several(kind: str) -> None:
    several = {"in_channels": [6, 9], "in_index": [0, 1], "input_transform": "multiple_select"}
    with pytest.raises(ConfigError, match=rf"{kind}: expected one feature, got .*2 feat.*\. Use"):
        HEADS.build(small(kind, **several))


@pytest.mark.parametrize("kind", OF_SEVERAL)
def test_heads_of_several_features_refuse_one(kind: str) -> None:
    with pytest.raises(ConfigError, match="input_transform.*'multiple_select', got 'resize_conc"):
        HEADS.build(small(kind, input_transform="resize_concat"))
    with pytest.raises(ConfigError, match="expected lists as in_channels and in_index"):
        HEADS.build(small(kind, in_channels=9, in_index=1))


@pytest.mark.parametrize("kind", [*OF_ONE_FEATURE, *OF_SEVERAL])
def test_dropout_acts_on_every_prediction_in_training_only(kind: str, label: Tensor) -> None:
    """With all but one of a million channels dropped, the classifiers' biases remain."""
    head = filled(HEADS.build(small(kind, dropout_ratio=1 - 1e-6))).train()
    classifiers = [m for m in head.modules() if isinstance(m, nn.Conv2d) and m.out_channels == 5]
    for classifier in classifiers:
        nn.init.constant_(classifier.bias, 3.0)  # pyright: ignore[reportArgumentType]
    seen: list[Tensor] = []
    head.losses = lambda logits, *_: seen.append(logits) or {}
    head.forward_train(small_features(), None, label)
    assert all((logits == 3).all() for logits in seen)
    assert not (head.eval()(small_features()) == 3).all()


@pytest.mark.parametrize("kind", [*OF_ONE_FEATURE, *OF_SEVERAL])
def test_logits_on_request_are_those_that_predict(kind: str) -> None:
    head = filled(HEADS.build(small(kind))).eval()
    label = torch.randint(0, 5, (2, 1, 24, 28))
    result = head.forward_train(small_features(), None, label, return_logits=True)
    torch.testing.assert_close(result["logits"], head.forward_test(small_features()), **EQUAL)


def test_weights_of_pixels_reach_all_three_losses_of_danet() -> None:
    head = filled(HEADS.build(small("DAHead"))).eval()
    label = torch.randint(0, 5, (2, 1, 24, 28))
    half = torch.full((2, 24, 28), 0.5, dtype=torch.float64)
    whole = head.forward_train(small_features(), None, label)
    halved = head.forward_train(small_features(), None, label, seg_weight=half)
    for name in ("pam_cam", "pam", "cam"):
        expected = whole[f"{name}.loss_seg"] / 2
        torch.testing.assert_close(halved[f"{name}.loss_seg"], expected, **EQUAL)


@pytest.mark.parametrize("size", [(7, 11), (6, 4), (2, 3)])
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_means_over_a_grid_are_those_of_the_pooling_layer(size: Any, cells: int) -> None:
    x = normal("pooled", 2, 5, *size)
    pooled = nn.AdaptiveAvgPool2d(cells)(x)
    torch.testing.assert_close(grid_means(x, cells), pooled, **EQUAL)


def test_danets_attentions_start_as_identities_and_equal_slow_loops() -> None:
    head = HEADS.build(small("DAHead", pam_channels=4)).double()
    x = normal("attended", 2, 7, 3, 5)
    assert torch.equal(head.pam(x), x)
    assert torch.equal(head.cam(x), x)
    head = filled(head)
    flat, pam, cam = x.flatten(2), head.pam, head.cam
    query, key, value = (
        layer(x).flatten(2) for layer in (pam.query_project, pam.key_project, pam.value_project)
    )
    positions, channels = flat.clone(), flat.clone()
    for n in range(2):
        for i in range(3 * 5):
            share = torch.stack([query[n, :, i] @ key[n, :, j] for j in range(15)]).softmax(0)
            positions[n, :, i] += pam.gamma.scale * (value[n] * share).sum(dim=1)
        for i in range(7):
            share = torch.stack([-flat[n, i] @ flat[n, j] for j in range(7)]).softmax(0)
            channels[n, i] += cam.gamma.scale * (share[:, None] * flat[n]).sum(dim=0)
    torch.testing.assert_close(pam(x).flatten(2), positions, **EQUAL)
    torch.testing.assert_close(cam(x).flatten(2), channels, **EQUAL)


def test_channel_attention_survives_half_precision() -> None:
    """Sums over pixels reach 10⁶, beyond float16 and far too coarse in bfloat16."""
    attention = filled(HEADS.build(small("DAHead")).cam).float()
    x = 100 + normal("bright", 2, 3, 10, 12).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = attention(x)
    torch.testing.assert_close(half, attention(x))


def test_an_fcn_head_without_convolutions_classifies_the_feature_itself() -> None:
    cfg = small("FCNHead", num_convs=0, concat_input=False)
    head = filled(HEADS.build({**cfg, "channels": 9}))
    assert torch.equal(head(small_features()), head.conv_seg(small_features()[1]))
    with pytest.raises(ConfigError, match=r"expected channels=9 .*, got channels=7\. Make them"):
        HEADS.build(cfg)


def test_the_first_feature_of_deeplab_needs_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"both 0 or neither, got 0 and 12\. Set both"):
        HEADS.build(small("DepthwiseSeparableASPPHead", c1_in_channels=0))


def test_a_segformer_head_needs_a_width_and_no_other_names() -> None:
    with pytest.raises(ConfigError, match="decoder_params.*needs the key 'embed_dim'"):
        HEADS.build(small("SegFormerHead", decoder_params={}))
    with pytest.raises(ConfigError, match="'embed_dims' in decoder_params.*'embed_dim'"):
        HEADS.build(small("SegFormerHead", decoder_params={"embed_dims": 4}))


class TestSegFormerAdapter:
    def test_it_replaces_the_last_feature_by_the_recorded_ones(self) -> None:
        levels = features("mit")
        one = NECKS.build({"type": "SegFormerAdapter", "scales": [8]})(levels)
        assert all(torch.equal(a, b) for a, b in zip(one[:-1], levels[:-1], strict=True))
        recorded = recorded_arrays("C4_heads.npz")["SegFormerAdapter_s8_last_part"]
        np.testing.assert_allclose(one[-1][:1, :, ::2, ::2], recorded, **NOISE)
        every = {"type": "SegFormerAdapter", "out_layers": [0, 1, 2, 3], "scales": [1, 2, 4, 8]}
        assert_matches_statistics(NECKS.build(every)(levels)[-1], "C4/SegFormerAdapter_all_last")

    @pytest.mark.parametrize(
        ("cfg", "words"),
        [
            ({"scales": [1, 2]}, r"one scale per out_layers \[3\], got \[1, 2\]\. Give as many"),
            ({"scales": [2], "out_layers": [4]}, r"out_layers \[4\], got 4 features\. Lower"),
            ({"scales": [1, 4], "out_layers": [0, 1]}, r"one size, got .*32.*64.*\. Choose"),
        ],
    )
    def test_mistakes_are_named(self, cfg: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=f"SegFormerAdapter: expected .*{words}"):
            NECKS.build({"type": "SegFormerAdapter", **cfg})(features("mit"))


@pytest.mark.parametrize("kind", OF_ONE_FEATURE)
def test_every_head_of_one_feature_can_be_auxiliary_in_a_list(kind: str) -> None:
    backbone = {"type": "ResNet", "depth": 18, "stem_channels": 4, "base_channels": 6}
    main = {"type": "PSPHead", "in_channels": 48, "in_index": 3, "channels": 7, "num_classes": 5}
    middle = small(kind, in_channels=24, in_index=2)
    aux = [middle, small(kind, in_channels=6, in_index=0)]
    network = build_segmentor(
        {"type": "EncoderDecoder", "backbone": backbone, "decode_head": main, "auxiliary_head": aux}
    )
    network.init_weights()
    label = torch.randint(0, 5, (2, 1, 64, 96))
    losses = network.forward_train(torch.rand(2, 3, 64, 96), [{}] * 2, label)
    named = {key.partition(".")[0] for key in losses if is_loss(key)}
    assert named == {"decode", "aux_0", "aux_1"}
    sum(value for key, value in losses.items() if is_loss(key)).backward()
    assert all(head.conv_seg.weight.grad is not None for head in network.auxiliary_head)
    with torch.no_grad():
        assert network.eval().encode_decode(torch.rand(1, 3, 64, 96)).shape == (1, 5, 64, 96)
