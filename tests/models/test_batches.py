"""What goes through a network together: batches as one, draws and operations at once."""

from typing import Any

import pytest
import torch
from network_records import EQUAL, normal
from torch import Tensor, nn

from mmseg.models.layers import (
    StochasticDepth,
    add_branch,
    gelu_to_tokens,
    is_batch_independent,
    map_to_tokens,
)
from mmseg.models.layers.shape import _GELUToTokens
from mmseg.models.segmentors.joint_features import joint_features

NORMS: list[tuple[nn.Module, bool, bool]] = [  # independent in training mode, in eval mode
    (nn.BatchNorm2d(3), False, True),
    (nn.SyncBatchNorm(3), False, True),
    (nn.BatchNorm2d(3, track_running_stats=False), False, False),
    (nn.InstanceNorm2d(3), True, True),
    (nn.InstanceNorm2d(3, track_running_stats=True), False, True),
    (nn.GroupNorm(3, 3), True, True),
    (nn.Dropout2d(), True, True),
]


@pytest.mark.parametrize(("layer", "in_training", "in_eval"), NORMS)
def test_batch_norms_in_training_mode_mix_samples_and_nothing_else(
    layer: nn.Module, in_training: bool, in_eval: bool
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(layer))
    assert is_batch_independent(network.train()) is in_training
    assert is_batch_independent(network.eval()) is in_eval


class Extractor(nn.Module):
    """One convolution and a norm; remembers how many images it saw at a time."""

    neck = None

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 5, 3), norm).double()
        self.seen: list[int] = []

    def extract_feat(self, img: Tensor) -> list[Tensor]:
        self.seen.append(len(img))
        feature = self.backbone(img)
        return [feature, feature[:, :, ::2]]


@pytest.mark.parametrize(
    ("norm", "sizes", "seen"),
    [
        (nn.GroupNorm(5, 5), [(7, 6), (7, 6), (7, 6)], [6]),
        (nn.GroupNorm(5, 5), [(7, 6), (7, 6), (6, 7)], [2, 3, 1]),
        (nn.BatchNorm2d(5), [(7, 6), (7, 6), (7, 6)], [2, 3, 1]),
    ],
)
def test_batches_are_joined_only_if_that_makes_no_difference(
    norm: nn.Module, sizes: list[tuple[int, int]], seen: list[int]
) -> None:
    network: Any = Extractor(norm)
    batches = [normal(f"{n}", n, 3, *size) for n, size in zip((2, 3, 1), sizes, strict=True)]
    found = joint_features(network, *batches)
    assert network.seen == seen
    for features, batch in zip(found, batches, strict=True):
        torch.testing.assert_close(features, network.extract_feat(batch), **EQUAL)


def test_each_branch_and_sample_is_drawn_with_its_rate_and_keeps_its_mean() -> None:
    """1 is never kept; a hundredth is more than 4 standard errors of 20,000 draws."""
    rates = (0.0, 0.25, 0.25, 1.0)
    first, *drawn = StochasticDepth(rates).train()(20_000)
    assert first is None
    factors = torch.stack([factor for factor in drawn if factor is not None])  # (3, N, 1, 1)
    assert factors.shape == (3, 20_000, 1, 1)
    assert factors[:2].unique().tolist() == pytest.approx([0, 4 / 3])
    assert not factors[2].any()
    kept = factors[:2].bool().double().flatten(1)
    assert kept.mean(1).tolist() == pytest.approx([0.75, 0.75], abs=0.015)
    assert (kept[0] * kept[1]).mean().item() == pytest.approx(0.75**2, abs=0.015)  # independent
    assert StochasticDepth(rates).eval()(2) == [None] * 4


def test_a_branch_is_added_with_its_factor_and_has_the_gradient_of_that() -> None:
    x, branch = (normal(name, 3, 5, 7).requires_grad_() for name in ("x", "branch"))
    factor = torch.tensor([0.0, 1.25, 2.0]).double().view(3, 1, 1)
    assert torch.equal(add_branch(x, branch, None), x + branch)
    torch.testing.assert_close(add_branch(x, branch, factor), x + factor * branch, **EQUAL)
    assert torch.autograd.gradcheck(lambda *given: add_branch(*given, factor), (x, branch))


def test_a_branch_in_half_precision_is_added_in_single() -> None:
    x, branch = torch.ones(2, 5, 3), torch.full((2, 5, 3), 0.5, dtype=torch.bfloat16)
    branch.requires_grad_()
    factor = torch.tensor([0.0, 1 + 2**-12]).view(2, 1, 1)  # bfloat16 would round it
    with torch.autocast("cpu", torch.bfloat16):
        found = add_branch(x, branch, factor)
    assert torch.equal(found, x + 0.5 * factor)
    found.sum().backward()
    assert branch.grad is not None
    assert branch.grad.dtype == torch.bfloat16


def test_gelu_between_layouts_is_gelu() -> None:
    feature = normal("feature", 2, 3, 5, 7).requires_grad_()
    tokens = _GELUToTokens.apply(feature)
    assert isinstance(tokens, Tensor)
    assert tokens.is_contiguous()
    expected = map_to_tokens(nn.functional.gelu(feature))
    torch.testing.assert_close(tokens, expected, **EQUAL)
    torch.testing.assert_close(gelu_to_tokens(feature), expected, **EQUAL)
    assert torch.autograd.gradcheck(_GELUToTokens.apply, (feature,))
