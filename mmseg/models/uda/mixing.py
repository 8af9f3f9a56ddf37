"""ClassMix and the augmentation of the mixed image (DACS, Tranheden et al. 2021).

The color jitter is the one the papers trained with: additive brightness, contrast without mean,
saturation and hue in HSV (`ColorJiggle` in today's kornia, which the tests compare with).

Legend: B images, C classes, H×W pixels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models.uda.draws import Augmentation, ImageAugmentation, JitterStep


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of the RGB images (…, 3, H, W) that a network sees.

    Plain numbers are arguments of the computation on a device; a tensor would have to be copied.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, img_norm_cfg: Mapping[str, Any]) -> "Normalization":
        """Take the constants that `Normalize` recorded for a sample."""
        mean, std = (tuple(float(x) for x in img_norm_cfg[key]) for key in ("mean", "std"))
        return cls(mean, std)

    def to_unit(self, image: Tensor) -> Tensor:
        """Turn normalized into RGB in [0, 1]."""
        return self._by_color(image, lambda x, mean, std: (x * std + mean) / 255)

    def from_unit(self, image: Tensor) -> Tensor:
        """Turn RGB in [0, 1] into normalized."""
        return self._by_color(image, lambda x, mean, std: (x * 255 - mean) / std)

    def from_bytes(self, image: Tensor) -> Tensor:
        """Turn RGB in 0…255, of a float type, into normalized."""
        return self._by_color(image, lambda x, mean, std: (x - mean) / std)

    def _by_color(self, image: Tensor, change: Callable[[Tensor, float, float], Tensor]) -> Tensor:
        colors = zip(image.unbind(-3), self.mean, self.std, strict=True)
        return torch.stack([change(*each) for each in colors], dim=-3)


def class_mask(label: Tensor, chosen: Tensor) -> Tensor:
    """Mark the pixels of `label` (B, 1, H, W) int64 whose class is chosen: (B, 1, H, W) bool.

    `chosen` is (B, C+1) bool; column C stands for 255.
    """
    column = label.clamp(max=chosen.shape[1] - 1)
    return chosen.gather(1, column.flatten(1)).view_as(label)


def paste(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Paste the marked pixels of `source` on `target`: mask (B, 1, H, W), others (B, [K,] H, W)."""
    return torch.where(mask if source.ndim == 4 else mask[:, 0], source, target)


@dataclass(frozen=True)
class StrongAugmentation:
    """Color jitter and blur of normalized images.

    Images are jittered when the draw in [0, 1) *exceeds* `jitter_probability` (as in the papers'
    code, where 0.2 means four times out of five).
    """

    jitter_probability: float
    jitter_strength: float  # of brightness, contrast, saturation and hue
    blur: bool  # whether to blur at all (when the draw exceeds 0.5)
    is_shared: bool = False  # the images of a batch share the order of the jitter and σ of the blur

    def factors(self, drawn: Augmentation, count: int) -> list[ImageAugmentation]:
        """Return the factors for each of `count` images."""
        factors = [drawn.image(index, self.jitter_strength) for index in range(count)]
        if self.is_shared:
            order, sigma = drawn.shared()
            factors = [replace(each, order=order, sigma=sigma) for each in factors]
        return factors

    def __call__(
        self, images: Tensor, drawn: Augmentation | None, normalization: Normalization
    ) -> Tensor:
        """Return augmented (B, 3, H, W) normalized images; `drawn=None` changes nothing."""
        if drawn is None:
            return images
        factors = self.factors(drawn, len(images))
        if drawn.jitter_draw > self.jitter_probability:
            unit = normalization.to_unit(images)
            jittered = [color_jitter(i, f) for i, f in zip(unit, factors, strict=True)]
            images = normalization.from_unit(torch.stack(jittered))
        if self.blur and drawn.blur_draw > 0.5:
            blurred = [gaussian_blur(i, f.sigma) for i, f in zip(images, factors, strict=True)]
            images = torch.stack(blurred)
        return images


def color_jitter(image: Tensor, factors: ImageAugmentation) -> Tensor:
    """Jitter one (3, H, W) RGB image in [0, 1], in the drawn order."""
    for step in factors.order:
        if step == JitterStep.BRIGHTNESS:
            image = (image + (factors.brightness - 1)).clamp(0, 1)
        elif step == JitterStep.CONTRAST:
            image = (image * factors.contrast).clamp(0, 1)
        else:
            hue, saturation, value = rgb_to_hsv(image)
            if step == JitterStep.SATURATION:
                saturation = (saturation * factors.saturation).clamp(0, 1)
            else:
                hue = (hue + factors.hue) % 1
            image = hsv_to_rgb(hue, saturation, value)
    return image


def rgb_to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue (in turns, [0, 1)), saturation and value, (H, W) each, of (3, H, W) RGB."""
    red, green, blue = image
    value, strongest = image.max(0)
    spread = value - image.amin(0)
    safe = torch.where(spread == 0, 1.0, spread)
    sector = torch.stack([green - blue, blue - red, red - green]) / safe
    sector = sector.gather(0, strongest[None])[0] + 2 * strongest
    return (sector / 6) % 1, spread / (value + 1e-8), value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return (3, H, W) RGB; the inverse of `rgb_to_hsv`."""
    position = torch.stack([hue * 6 + shift for shift in (5.0, 3.0, 1.0)]) % 6
    ramp = torch.minimum(position, 4 - position).clamp(0, 1)
    return value - value * saturation * ramp


def blur_kernel_size(size: int) -> int:
    """Return the odd kernel length: about a tenth of the image side (512 → 51, 1024 → 103)."""
    tenth = math.ceil(0.1 * size)
    return math.floor(tenth - 0.5 + tenth % 2)


def gaussian_blur(image: Tensor, sigma: float, kernel_size: int | None = None) -> Tensor:
    """Blur one (3, H, W) image with a separable Gaussian; the border reflects.

    The kernel spans `kernel_size` pixels, by default a tenth of the side, without the weights
    beyond 8σ, which float32 cannot resolve.
    """
    for axis in (1, 2):
        length = blur_kernel_size(image.shape[axis]) if kernel_size is None else kernel_size
        radius = min(length // 2, math.ceil(8 * sigma))
        if radius == 0:
            continue
        offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        shape = (1, 1, -1, 1) if axis == 1 else (1, 1, 1, -1)
        kernel = (kernel / kernel.sum()).view(shape)
        padding = (0, 0, radius, radius) if axis == 1 else (radius, radius, 0, 0)
        padded = F.pad(image[:, None], padding, mode="reflect")  # colors as a batch
        image = F.conv2d(padded, kernel)[:, 0]
    return image
