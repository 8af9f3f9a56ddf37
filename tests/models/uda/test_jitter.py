"""Jitter per image against the recorded reference (golden V) and torchvision."""

import numpy as np
import pytest
import torch
from golden_init import arr
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional
from vfm_steps import arrays, records

from mmseg.datasets.pipelines.photometric import IMAGENET
from mmseg.models.uda.base import Step, StepOutput, UDABatch
from mmseg.models.uda.draws import Draws, ImageJitter, JitterKind, JitterStep
from mmseg.models.uda.jitter import STRONG, UDA, WEAK, adjust, jitter, jitter_batch, luma
from mmseg.models.uda.mixing import Normalization, gaussian_blur
from mmseg.models.uda.settings import DACSSettings
from mmseg.models.uda.views import JitteredViews, make_views

NORMALIZATION = Normalization.of(IMAGENET)
STEPS = {step.name.lower(): step for step in JitterStep}


def image() -> Tensor:
    picture = torch.from_numpy(arr("V:aug:img", (3, 24, 40), "uniform")).double()
    picture[:, :4, :4] = picture[0, :4, :4].clone()
    return picture


def check(name: str, got: Tensor) -> None:
    step = records()["aug"]["out"][name]["step"]
    np.testing.assert_allclose(got.flatten()[::step], arrays()[f"aug/{name}/f64"], atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_each_step_equals_the_recorded_one(name: str) -> None:
    factors = dict(zip(STEPS, records()["aug"]["factors"], strict=True))
    check(name, adjust(image(), STEPS[name], factors[name]))


def test_steps_in_order_gray_and_blur_equal_the_recorded_ones() -> None:
    record = records()["aug"]
    order = record["order_of_brightness_contrast_saturation_hue"]
    drawn = ImageJitter(tuple((step, record["factors"][step]) for step in order))
    check("jitter", jitter(image(), drawn))
    check("gray", luma(image()).expand(3, -1, -1))
    check("blur", gaussian_blur(image(), record["sigma"], record["kernel"]))


@pytest.mark.parametrize("name", STEPS)
def test_each_step_equals_torchvisions(name: str) -> None:
    """Its own hue differs by 1e-8 where the color is almost black."""
    apply = getattr(functional, f"adjust_{name}")
    for factor in (-0.4, -0.1, 0.0, 0.3) if name == "hue" else (0.0, 0.3, 1.0, 1.8):
        got = adjust(image(), STEPS[name], factor)
        torch.testing.assert_close(got, apply(image(), factor), rtol=0, atol=1e-6)


def test_gray_and_blur_equal_torchvisions() -> None:
    """The kernel is a tenth of the side; of 200 pixels it has 19."""
    picture = torch.from_numpy(arr("V:aug:big", (3, 200, 200), "uniform")).double()
    gray = jitter(picture, ImageJitter(is_gray=True))
    torch.testing.assert_close(gray, functional.rgb_to_grayscale(picture, 3), rtol=0, atol=1e-9)
    blurred = functional.gaussian_blur(picture, [19, 19], [2.7, 2.7])
    got = jitter(picture, ImageJitter(sigma=2.7))
    torch.testing.assert_close(got, blurred, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", [WEAK, STRONG, UDA])
def test_factors_are_distributed_as_torchvisions(kind: JitterKind) -> None:
    """Each image of 400 has draws of its own, in torchvision's ranges."""
    drawn = Draws(2, 3).image_jitters("test", kind, 400)
    assert len({each.steps for each in drawn if each.steps}) == sum(bool(e.steps) for e in drawn)
    other = v2.ColorJitter(kind.brightness, kind.contrast, kind.saturation, kind.hue)
    ranges = (other.brightness, other.contrast, other.saturation, other.hue)
    for step, (low, high) in enumerate(ranges):
        factors = [dict(each.steps)[step] for each in drawn if each.steps]
        assert low <= min(factors) < low + 0.05 * (high - low)
        assert high >= max(factors) > high - 0.05 * (high - low)
    assert len({tuple(s for s, _ in each.steps) for each in drawn if each.steps}) == 24
    shares = {
        "jitter": np.mean([bool(each.steps) for each in drawn]),
        "gray": np.mean([each.is_gray for each in drawn]),
        "blur": np.mean([each.sigma is not None for each in drawn]),
    }
    assert shares == pytest.approx({k: getattr(kind, k) for k in shares}, abs=0.1)
    sigmas = [each.sigma for each in drawn if each.sigma is not None]
    assert all(kind.sigma[0] <= sigma <= kind.sigma[1] for sigma in sigmas)


def test_draws_are_a_function_of_seed_iteration_rank_and_purpose() -> None:
    draws = Draws(1, 2, 3)
    first = draws.image_jitters("a", STRONG, 3)
    assert (
        draws.image_jitters("a", STRONG, 3) == first == Draws(1, 2, 3).image_jitters("a", STRONG, 3)
    )
    assert first[:2] == draws.image_jitters("a", STRONG, 2)
    others = [Draws(2, 2, 3), Draws(1, 3, 3), Draws(1, 2, 4)]
    assert all(first != other.image_jitters("a", STRONG, 3) for other in others)
    assert first != draws.image_jitters("b", STRONG, 3)


def test_an_image_that_nothing_happens_to_stays_as_it_is() -> None:
    """Exactly, and the other one is changed in [0, 1]."""

    class Second(Draws):
        def image_jitters(self, *_: object) -> list[ImageJitter]:
            return [ImageJitter(), ImageJitter(((JitterStep.BRIGHTNESS, 3.0),))]

    images = NORMALIZATION.from_unit(torch.rand(2, 3, 8, 12))
    before = images.clone()
    with torch.autocast("cpu", torch.bfloat16):  # which changes nothing here
        got = jitter_batch(images, WEAK, "test", Second(), NORMALIZATION)
    assert torch.equal(images, before)
    assert torch.equal(got[0], images[0])
    unit = NORMALIZATION.to_unit(got[1])
    expected = (3 * NORMALIZATION.to_unit(images[1])).clamp(0, 1)
    torch.testing.assert_close(unit, expected)


def test_phases_see_the_views_that_belong_together() -> None:
    """One weak view of the target, wherever it is asked for; the others have their own draws."""
    pictures = torch.rand(2, 2, 3, 16, 24)
    labels = torch.zeros(2, 1, 16, 24).long()
    data = UDABatch(pictures[0], [], labels, pictures[1], [], None, None)
    step = Step(data, 3, Draws(5, 3), StepOutput())
    plain = make_views(DACSSettings())
    assert plain.source(step) is plain.weak_source(step) is data.image
    assert plain.target(step) is data.target_image
    strong = make_views(DACSSettings(jitter="torchvision", strong_source=True))
    weak = make_views(DACSSettings(jitter="torchvision"))
    assert isinstance(strong, JitteredViews)
    assert torch.equal(strong.target(step), weak.target(step))
    assert torch.equal(weak.source(step), strong.weak_source(step))
    assert not torch.equal(strong.source(step), strong.weak_source(step))
    assert not torch.equal(weak.mixed(data.image, step), weak.masked(data.image, step))
