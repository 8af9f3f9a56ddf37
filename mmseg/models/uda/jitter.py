"""Jitter, gray and blur with torchvision's formulas, as VFM-UDA augments: each image on its own.

Images are RGB in [0, 1]; gray is the luma of BT.601.

Legend: B images, H×W pixels.
"""

import torch
from torch import Tensor

from mmseg.models.layers import full_precision
from mmseg.models.uda.draws import Draws, ImageJitter, JitterKind, JitterStep
from mmseg.models.uda.mixing import Normalization, gaussian_blur, hsv_to_rgb, rgb_to_hsv

WEAK = JitterKind(32 / 255, 0.5, 0.5, 0.05, jitter=0.9)
STRONG = JitterKind(0.8, 0.8, 0.8, 0.4, jitter=0.8, gray=0.1, blur=0.5, sigma=(0.15, 3.0))
UDA = JitterKind(0.2, 0.2, 0.2, 0.2, jitter=0.8, blur=0.5)  # of mixed and masked images
LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue


def jitter_batch(
    images: Tensor, kind: JitterKind, purpose: str, draws: Draws, normalization: Normalization
) -> Tensor:
    """Jitter (B, 3, H, W) normalized images; one that nothing happens to stays as it is, exactly.

    `purpose` tells these draws from others of the iteration.
    """
    drawn, jittered = draws.image_jitters(purpose, kind, len(images)), []
    with full_precision(images.device):  # else the blur would round colors
        for image, each in zip(images, drawn, strict=True):
            if each != ImageJitter():
                image = normalization.from_unit(jitter(normalization.to_unit(image), each))
            jittered.append(image)
    return torch.stack(jittered)


def jitter(image: Tensor, drawn: ImageJitter) -> Tensor:
    """Jitter one (3, H, W) image."""
    for step, factor in drawn.steps:
        image = adjust(image, step, factor)
    if drawn.is_gray:
        image = luma(image).expand_as(image)
    return image if drawn.sigma is None else gaussian_blur(image, drawn.sigma)


def adjust(image: Tensor, step: int, factor: float) -> Tensor:
    """Apply one step to a (3, H, W) image: blend it with black or gray, or turn its hue."""
    if step == JitterStep.HUE:
        hue, saturation, value = rgb_to_hsv(image)
        return hsv_to_rgb((hue + factor) % 1, saturation, value)
    if step == JitterStep.BRIGHTNESS:
        return (factor * image).clamp(0, 1)
    gray = luma(image)
    other = gray.mean() if step == JitterStep.CONTRAST else gray
    return (factor * image + (1 - factor) * other).clamp(0, 1)


def luma(image: Tensor) -> Tensor:
    """Return the gray (1, H, W) of a (3, H, W) image."""
    red, green, blue = (share * color for share, color in zip(LUMA, image, strict=True))
    return (red + green + blue)[None]
