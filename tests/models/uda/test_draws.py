"""Random choices: distributions, shapes, and that they depend on the iteration alone."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmseg.models.uda.draws import Augmentation, Draws

E = Path(__file__).parents[2] / "golden" / "E"


def test_choices_depend_on_seed_iteration_and_rank_alone() -> None:
    labels = torch.arange(6).view(2, 1, 1, 3) % 5

    def choices(draws: Draws) -> list[object]:
        return [
            draws.mix_classes(labels).tolist(),
            draws.augmentation(),
            draws.crop_box(64, 96, (32, 32), 8),
            draws.crop_box(64, 96, (32, 32), 8),
            draws.block_mask(2, 32, 48, 0.5, 16).tolist(),
            draws.torch_seed(),
        ]

    first = choices(Draws(3, 7, 1))
    assert choices(Draws(3, 7, 1)) == first
    for other in (Draws(4, 7, 1), Draws(3, 8, 1), Draws(3, 7, 2)):
        assert all(a != b for a, b in zip(choices(other)[-2:], first[-2:], strict=True))


def test_one_kind_of_choice_does_not_shift_another() -> None:
    draws = Draws(1, 2)
    draws.crop_box(64, 64, (32, 32), 8)
    assert draws.augmentation() == Draws(1, 2).augmentation()


def test_half_of_the_classes_of_the_whole_batch_are_chosen_for_every_image() -> None:
    """Five classes (255 is one of them): three are chosen per image, each equally often."""
    labels = torch.tensor([[[0, 3, 3]], [[7, 9, 255]]])[:, None]
    counts = torch.zeros(20)
    for iteration in range(800):
        chosen = Draws(0, iteration).mix_classes(labels)
        assert chosen.shape == (2, 20)
        assert chosen.sum(1).tolist() == [3, 3]
        counts += chosen.float().sum(0)
    assert (counts > 0).nonzero().flatten().tolist() == [0, 3, 7, 9, 19]
    share = counts[counts > 0] / 1600
    assert torch.all((share - 0.6).abs() < 0.08)  # more than six standard errors


def test_subclass_may_leave_the_constructor_out() -> None:
    class Fixed(Draws):
        def __init__(self) -> None:
            pass

        def augmentation(self) -> None:
            return None

    assert Fixed().mix_classes(torch.zeros(2, 1, 3, 5).long()).shape == (2, 20)
    assert Fixed().torch_seed() == Draws().torch_seed()


def test_crop_box_offsets_are_multiples_and_reach_both_ends() -> None:
    """Margin 64 with d = 8: (64 + 1) // 8 = 8 choices 0, 8, …, 56; no choice on a tight axis."""
    boxes = {Draws(0, t).crop_box(96, 32, (32, 32), 8) for t in range(300)}
    assert {b[0] for b in boxes} == set(range(0, 64, 8))
    assert {b[2:] for b in boxes} == {(0, 32)}
    assert all(b[1] - b[0] == 32 for b in boxes)


def test_block_masks_equal_the_recorded_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.load(E / "E.npz")
    for number, case in enumerate(json.loads((E / "E.json").read_text())["E8"]):
        uniform = stored[f"E8_rand{number}"]
        recorded = SimpleNamespace(random=lambda size, dtype, u=uniform: u.reshape(size))
        monkeypatch.setattr(Draws, "stream", lambda self, purpose, r=recorded: r)
        size = case["B"], case["H"], case["W"]
        mask = Draws().block_mask(*size, case["mask_ratio"], case["block"])
        expected = np.unpackbits(stored[f"E8_mask{number}"])[: mask.numel()]
        assert torch.equal(mask, torch.from_numpy(expected).view(mask.shape).float())


def test_block_mask_keeps_the_stated_share() -> None:
    """Of 96,000 blocks, to 6 standard errors."""
    shares = [Draws(0, t).block_mask(2, 64, 96, 0.7, 8).mean().item() for t in range(500)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.01)


def test_augmentation_factors_stay_in_their_ranges() -> None:
    factors = [Draws(0, t).augmentation().image(i, 0.2) for t in range(100) for i in (0, 1)]
    for name in ("brightness", "contrast", "saturation"):
        values = [getattr(f, name) for f in factors]
        assert min(values) >= 0.8
        assert max(values) <= 1.2
        assert max(values) - min(values) > 0.3
    assert all(abs(f.hue) <= 0.2 and 0.15 <= f.sigma <= 1.15 for f in factors)
    assert len({f.order for f in factors}) > 20


def test_images_of_a_batch_get_different_factors() -> None:
    drawn = Augmentation(entropy=(4,))
    assert drawn.image(0, 0.2) != drawn.image(1, 0.2)
    assert drawn.image(0, 0.2) == drawn.image(0, 0.2)
