"""ClassMix, color jitter and blur against the recorded reference and kornia."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_init import arr
from kornia.enhance import adjust_hue, adjust_saturation
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg.models.uda.base import UDABatch
from mmseg.models.uda.draws import Augmentation, ImageAugmentation
from mmseg.models.uda.mixing import (
    Normalization,
    StrongAugmentation,
    blur_kernel_size,
    class_mask,
    color_jitter,
    gaussian_blur,
    paste,
)

E = Path(__file__).parents[2] / "golden" / "E"
META = json.loads((E / "E.json").read_text())
STORED = np.load(E / "E.npz")
NORM = Normalization(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def recorded(name: str) -> Tensor:
    """Return a recording; float32 values as float64, which everything is computed in."""
    stored = torch.from_numpy(STORED[name])
    return stored.double() if stored.is_floating_point() else stored


def noise(seed: int, *shape: int) -> Tensor:
    """Return numbers of a normal distribution, the same on every machine."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def factors(entry: dict[str, Any], index: int) -> ImageAugmentation:
    names = ("brightness", "contrast", "saturation", "hue")
    values = {name: entry[f"{name}_factor"][index] for name in names}
    return ImageAugmentation(**values, order=tuple(entry["order"]), sigma=1.0)


def test_class_masks_equal_the_recorded_ones() -> None:
    labels = recorded("E6_labels").long()
    chosen = torch.zeros(2, 20, dtype=torch.bool)
    for image, classes in enumerate(META["E6"]["chosen_classes"]):
        chosen[image, [min(c, 19) for c in classes]] = True
    assert torch.equal(class_mask(labels, chosen).byte(), recorded("E6_masks_seed11"))


def test_paste_takes_marked_pixels_from_the_source() -> None:
    source, target = torch.ones(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)
    mask = noise(1, 2, 1, 4, 5) > 0
    assert torch.equal(paste(mask, source, target), mask.float().expand(2, 3, 4, 5))
    assert torch.equal(paste(mask, source[:, 0], target[:, 0]), mask[:, 0].float())


@pytest.mark.parametrize("name", ["cj0", "cj1", "cj2", "cj3"])
def test_jitter_of_normalized_images_equals_the_recorded_one(name: str) -> None:
    """To 4e-5 of a standard deviation."""
    images = NORM.from_bytes(recorded("E7_raw").double())
    for index, image in enumerate(images):
        jittered = color_jitter(NORM.to_unit(image), factors(META["E7"][name]["params"], index))
        torch.testing.assert_close(
            NORM.from_unit(jittered), recorded(f"E7_{name}")[index], rtol=0, atol=4e-5
        )


@pytest.mark.parametrize("number", range(7))
def test_single_factors_equal_the_recorded_ones(number: int) -> None:
    for index, raw in enumerate(recorded("E7_raw")):
        got = color_jitter(raw.double() / 255, factors(META["E7"][f"explicit{number}"], index))
        expected = recorded(f"E7_explicit{number}")[index]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_saturation_and_hue_equal_kornia() -> None:
    """Old releases of kornia round constants to float32: 0.8.0 differs by 4e-8; times 5."""
    close = {"rtol": 0, "atol": 2e-7}
    image = torch.from_numpy(np.random.default_rng(2).random((3, 7, 11)))
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "sigma": 1.0}
    saturated = ImageAugmentation(**{**neutral, "saturation": 1.3}, order=(2,))
    expected = adjust_saturation(image, 1.3)
    torch.testing.assert_close(color_jitter(image, saturated), expected, **close)
    turned = ImageAugmentation(**{**neutral, "hue": -0.17}, order=(3,))
    expected = adjust_hue(image, -0.17 * 2 * np.pi)
    torch.testing.assert_close(color_jitter(image, turned), expected, **close)


@pytest.mark.parametrize("number", range(3))
def test_blur_equals_the_recorded_one(number: int) -> None:
    entry = META["E7"][f"blur{number}"]
    image = torch.from_numpy(arr(f"E7:b{number}", (1, 3, *entry["hw"]))).double()
    got = gaussian_blur(image[0], entry["sigma"])
    torch.testing.assert_close(got, recorded(f"E7_blur{number}")[0], rtol=0, atol=2e-6)


def test_kernel_sizes_equal_the_recorded_ones() -> None:
    sizes = {size: blur_kernel_size(int(size)) for size in META["E7"]["kernel_sizes"]}
    assert sizes == META["E7"]["kernel_sizes"]


@pytest.mark.parametrize(
    ("drawn", "changes"),
    [
        (None, False),
        (Augmentation(), False),
        (Augmentation(jitter_draw=0.2, blur_draw=0.5), False),
        (Augmentation(jitter_draw=0.21), True),
        (Augmentation(blur_draw=0.51), True),
    ],
)
def test_draws_must_exceed_the_probability(drawn: Augmentation | None, changes: bool) -> None:
    images = noise(4, 2, 3, 24, 32)
    before = images.clone()
    got = StrongAugmentation(0.2, 0.2, blur=True)(images, drawn, NORM)
    assert torch.equal(images, before)
    assert torch.equal(got, images) != changes


def test_no_blur_where_the_method_does_not_blur() -> None:
    images = noise(5, 2, 3, 24, 32)
    augment = StrongAugmentation(1.0, 0.2, blur=False)
    assert torch.equal(augment(images, Augmentation(0.99, 0.99), NORM), images)


class HostTensors(TorchDispatchMode):
    """Notes every operation that reads or makes a tensor of the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        self.found += [str(func) for x in tensors if x.device.type == "cpu"]
        return result


@pytest.mark.parametrize("constant", [np.array, list])
def test_augmentation_copies_nothing_to_the_device(constant: Any) -> None:
    """The meta device stands for one that is not the CPU; all of jitter and blur run."""
    stated = {"mean": constant(NORM.mean), "std": constant(NORM.std), "to_rgb": True}
    image = torch.empty(2, 3, 24, 32, device="meta")
    data = UDABatch(image, [{"img_norm_cfg": stated}], image, image, [], None, None)
    with HostTensors() as host:
        drawn = Augmentation(jitter_draw=0.9, blur_draw=0.9)
        got = StrongAugmentation(0.2, 0.2, blur=True)(image, drawn, data.normalization())
        assert got.shape == image.shape
        assert got is not image
        assert host.found == []
        torch.zeros(3).to("meta")
        assert host.found  # what is looked for would be found


def test_normalization_equals_that_with_tensors() -> None:
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (NORM.mean, NORM.std))
    image = noise(6, 2, 3, 5, 7)
    pairs = [
        (NORM.to_unit(image), (image * std + mean) / 255),
        (NORM.from_unit(image), (image * 255 - mean) / std),
        (NORM.from_bytes(image[1]), (image[1] - mean) / std),
    ]
    for got, expected in pairs:
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
