"""Online hard example mining: which pixels count, by slow loops over all of them."""

import math
from typing import Any

import pytest
import torch
from network_records import EQUAL, normal
from torch import Tensor

from mmseg.models import HEADS
from mmseg.models.losses import PIXEL_SAMPLERS, CrossEntropyLoss
from mmseg.system.errors import ConfigError

IGNORED = 255


@pytest.fixture
def logits() -> Tensor:
    return normal("logits", 2, 4, 5, 7)


@pytest.fixture
def label() -> Tensor:
    drawn = torch.arange(2 * 5 * 7).view(2, 5, 7) * 5 % 6
    return drawn.where(drawn < 4, torch.tensor(IGNORED))


def sampled(logits: Tensor, label: Tensor, loss: Any = None, **options: Any) -> Tensor:
    sampler = PIXEL_SAMPLERS.build({"type": "OHEMPixelSampler", **options})
    return sampler.sample(logits, label, loss or CrossEntropyLoss(), IGNORED)


def known_pixels(logits: Tensor, label: Tensor) -> dict[tuple[int, int, int], float]:
    """Return the probability of the true class of every pixel that has one."""
    shares = logits.softmax(dim=1)
    places = [tuple(map(int, place)) for place in (label != IGNORED).nonzero()]
    return {(n, y, x): shares[n, label[n, y, x], y, x].item() for n, y, x in places}


def chosen(weight: Tensor) -> set[tuple[int, ...]]:
    assert set(weight.unique().tolist()) <= {0, 1}
    return {tuple(place) for place in weight.nonzero().tolist()}


@pytest.mark.parametrize(("thresh", "min_kept"), [(0.3, 1), (0.05, 9), (0.0, 14), (1.0, 1)])
def test_pixels_below_the_threshold_count_but_never_fewer_than_asked(
    thresh: float, min_kept: int, logits: Tensor, label: Tensor
) -> None:
    shares = known_pixels(logits, label)
    least = sorted(shares.values())[2 * min_kept]  # of both images together
    expected = {place for place, share in shares.items() if share < max(least, thresh)}
    weight = sampled(logits, label, thresh=thresh, min_kept=min_kept)
    assert chosen(weight) == expected
    assert 2 * min_kept <= len(expected)
    assert weight.shape == label.shape


@pytest.mark.parametrize("use_sigmoid", [False, True])
def test_without_threshold_the_largest_losses_count(
    use_sigmoid: bool, logits: Tensor, label: Tensor
) -> None:
    loss = CrossEntropyLoss(use_sigmoid, class_weight=[1.0, 9.0, 2.0, 0.5]).double()
    values = loss(logits, label, reduction_override="none", ignore_index=IGNORED)
    values = values.sum(dim=1) if use_sigmoid else values
    order = sorted(known_pixels(logits, label), key=lambda place: -values[place].item())
    assert chosen(sampled(logits, label, loss, min_kept=8)) == set(order[:16])


@pytest.mark.parametrize("options", [{"thresh": 0.7}, {}])
def test_few_known_pixels_and_none_at_all(
    options: dict[str, Any], logits: Tensor, label: Tensor
) -> None:
    """The default, 100,000 pixels per image, is more than there are."""
    known = set(known_pixels(logits, label))
    missing = known - chosen(sampled(logits, label, **options))
    assert len(missing) <= 1  # the surest pixel is not below the threshold, which it sets
    assert not sampled(logits, torch.full_like(label, IGNORED), **options).any()


@pytest.mark.parametrize("options", [{"thresh": 0.5, "min_kept": 3}, {"min_kept": 4}])
@pytest.mark.parametrize("kind", ["FCNHead", "DLV2Head"])
def test_the_choice_replaces_the_weights_of_a_heads_loss(
    kind: str, options: dict[str, Any], label: Tensor
) -> None:
    """The mean stays one over all pixels."""
    cfg = {"type": kind, "in_channels": 3, "num_classes": 4, "in_index": 0}
    cfg |= {"channels": 6} if kind == "FCNHead" else {}
    sampler = {"type": "OHEMPixelSampler", **options}
    head = HEADS.build({**cfg, "sampler": sampler}).double().eval()
    feature = normal("feature", 2, 3, 5, 7)
    logits = head([feature])
    weight = sampled(logits, label, **options)
    expected = CrossEntropyLoss()(logits, label, weight=weight)
    other = torch.rand(2, 5, 7)
    values = head.forward_train([feature], None, label[:, None], seg_weight=other)
    torch.testing.assert_close(values["loss_seg"], expected, **EQUAL)
    values["loss_seg"].backward()


def test_two_hard_pixels_by_hand() -> None:
    """Of probabilities ½, ¾ and ⅞ the first two are below 0.8; their losses are averaged over 3."""
    logits = torch.tensor([[[[0.0, math.log(3), math.log(7)]], [[0.0, 0.0, 0.0]]]])
    label = torch.zeros(1, 1, 3, dtype=torch.int64)
    weight = sampled(logits, label, thresh=0.8, min_kept=1)
    assert weight.tolist() == [[[1, 1, 0]]]
    loss = CrossEntropyLoss()(logits, label, weight=weight)
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 3)


@pytest.mark.parametrize("options", [{"thresh": 0.7}, {}])
def test_sampling_never_reads_a_value_back(options: dict[str, Any]) -> None:
    """The meta device has none."""
    with torch.device("meta"):
        logits, label = torch.rand(2, 4, 5, 7), torch.zeros(2, 5, 7, dtype=torch.int64)
        assert sampled(logits, label, **options).device.type == "meta"


def test_other_samplers_and_misspelt_keys_are_refused() -> None:
    cfg = {"type": "FCNHead", "in_channels": 3, "channels": 6, "num_classes": 4}
    with pytest.raises(ConfigError, match="unknown pixel sampler type 'OHEM'.*OHEMPixelSampler"):
        HEADS.build({**cfg, "sampler": {"type": "OHEM"}})
    with pytest.raises(ConfigError, match="unknown key 'threshold'.*'thresh'"):
        HEADS.build({**cfg, "sampler": {"type": "OHEMPixelSampler", "threshold": 0.7}})
