"""Network output -> 8-bit levels: the bits of the formula in numpy, and no level for nonsense."""

import numpy as np
import pytest
import torch

from mmseg.preprocessing.depth_maps.scaling import nearness, to_stored, upsample


def drawn(seed: int, *shape: int) -> torch.Tensor:
    """Return normal values, float32."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def plain(depth: np.ndarray) -> np.ndarray:
    """The formula, for one image."""
    return ((depth - depth.min()) / (depth.max() - depth.min()) * 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_levels_are_those_of_numpy_bit_by_bit(dtype) -> None:
    rng = np.random.default_rng(0)
    images = [rng.normal(mean, spread, (61, 83)) for mean in (0, 7, 300) for spread in (0.5, 1, 50)]
    images += [rng.integers(0, 9, (61, 83)), 1 / rng.uniform(0.1, 80, (61, 83))]
    values = np.stack(images).astype(dtype)
    levels, is_finite = to_stored(torch.from_numpy(values))
    assert levels.dtype == torch.uint8 and is_finite.tolist() == [True] * 11
    computed = values if dtype == np.float64 else values.astype(np.float32)
    for ours, image in zip(levels.numpy(), computed, strict=True):
        assert (ours == plain(image)).all()
        assert (ours.min(), ours.max()) == (0, 255)


def test_a_constant_image_becomes_0() -> None:
    ramp = torch.arange(35.0).view(5, 7)
    levels, is_finite = to_stored(torch.stack([torch.full((5, 7), 3.25), ramp, torch.zeros(5, 7)]))
    assert is_finite.tolist() == [True] * 3
    assert levels[0].max() == 0 and levels[2].max() == 0
    assert levels[1].flatten().tolist() == [int(n / 34 * 255) for n in range(35)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_cannot_be_scaled_is_marked_for_its_image_alone(value: float) -> None:
    good = drawn(1, 2, 6, 9)
    bad = torch.full((6, 9), -3e38)  # with 3e38, the span is more than float32 holds
    bad[3, 4] = value
    levels, is_finite = to_stored(torch.stack([good[0], bad, good[1]]))
    assert is_finite.tolist() == [True, False, True]
    assert (levels[[0, 2]] == to_stored(good)[0]).all()
    assert levels[1].max() == 0


def test_pixels_without_a_value_have_no_part_and_become_0() -> None:
    values, is_valid = drawn(2, 4, 8, 11), drawn(3, 4, 8, 11) < 0.25
    fill = torch.tensor([0.5, torch.nan, -torch.inf, torch.inf])[:, None, None]
    stored, is_finite = to_stored(torch.where(is_valid, values, fill), is_valid)
    assert is_finite.all()
    for levels, image, valid in zip(stored, values, is_valid, strict=True):
        assert (levels[~valid] == 0).all()
        assert levels[valid].tolist() == plain(image[valid].numpy()).tolist()
    values[2, 1, 1], is_valid[:] = torch.nan, True
    is_valid[0] = False
    assert to_stored(values, is_valid)[1].tolist() == [False, True, False, True]


def test_upsampling_keeps_the_corners_where_they_are() -> None:
    """Against numpy in float64; of values up to 3, float32 lost 1e-6 on every processor."""
    prediction = drawn(4, 2, 4, 6)
    result = upsample(prediction, (13, 31))
    assert result.shape == (2, 13, 31) and result.dtype == torch.float32
    rows, columns = np.linspace(0, 3, 13), np.linspace(0, 5, 31)
    for ours, given in zip(result.numpy(), prediction.numpy().astype(np.float64), strict=True):
        across = np.stack([np.interp(columns, np.arange(6), row) for row in given])
        expected = np.stack([np.interp(rows, np.arange(4), line) for line in across.T]).T
        assert np.abs(ours - expected).max() < 5e-6
    assert upsample(prediction.half(), (5, 9)).dtype == torch.float32


def test_meters_become_large_where_it_is_near() -> None:
    meters = torch.tensor([80.0, 2.0, 0.1, 0.05, -1.0, torch.nan, torch.inf, -torch.inf])
    near = nearness(meters, "metric")
    assert near[:5].tolist() == pytest.approx([1 / 80, 0.5, 10, 10, 10], rel=1e-6)
    assert not near[5:].isfinite().any()
    assert nearness(meters, "inverse") is meters
