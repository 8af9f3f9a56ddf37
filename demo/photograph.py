"""What air, lens and sensor do to a clean picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.domains import Light
from demo.render import Floats


def photograph(
    color: Floats,
    distance: Floats,
    light: Light,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return an RGB picture (H, W, 3) from colors in 0...1 and distances in meters."""
    color = _haze(color, distance, light)
    gray = color.mean(axis=-1, keepdims=True)
    color = gray + light.saturation * (color - gray)
    color = color * np.array(light.cast, dtype=np.float32) * rng.uniform(*light.exposure)
    color = 0.5 + light.contrast * (color - 0.5)
    color = color * _vignette(color.shape[:2], light.vignette)
    if light.blur > 0:
        color = cv2.GaussianBlur(color, (0, 0), light.blur)
    if light.noise > 0:
        color = color + light.noise * rng.standard_normal(color.shape)
    return (255 * np.clip(color, 0, 1) + 0.5).astype(np.uint8)


def _haze(color: Floats, distance: Floats, light: Light) -> Floats:
    """Mix in the color of the air, more of it the farther away; the sky has its own color."""
    share = 1 - np.exp(-distance / light.haze_distance)
    share[distance > 500] = 0
    return color + share[..., None] * (np.array(light.haze, dtype=np.float32) - color)


def _vignette(shape: tuple[int, int], strength: float) -> Floats:
    """Return the fall of brightness towards the corners, (H, W, 1); 1 in the middle."""
    height, width = shape
    v = np.linspace(-1, 1, height)[:, None]
    u = np.linspace(-1, 1, width)
    return (1 - strength * (u**2 + v**2) / 2).astype(np.float32)[..., None]
