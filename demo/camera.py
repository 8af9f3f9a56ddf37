"""Pinhole camera, planes in space and polygon clipping.

Legend. World: X to the right, Y up, Z forward, meters; the road is Y = 0 and the camera sits at
(0, eye, 0) looking along Z. Image: u to the right, v down, pixels; the center of the first pixel is
(0, 0). A plane carries its own coordinates (s, t) in meters.

One 3x3 matrix says everything about a plane. `H = K [s_axis, t_axis, origin]` takes (s, t, 1) to
Z (u, v, 1), so its inverse takes a pixel (u, v, 1) to (s, t, 1) / Z: texture coordinates, and as
third entry the inverse depth, which is therefore affine in the image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAREST = 0.6
"""Nothing closer to the camera than this is drawn, in meters."""


@dataclass(frozen=True)
class Frame:
    """A plane in space: point (s, t) lies at origin + s * s_axis + t * t_axis."""

    origin: Array  # (3,)
    s_axis: Array  # (3,) unit length
    t_axis: Array  # (3,) unit length

    def points(self, outline: Array) -> Array:
        """Return the world positions (n, 3) of plane coordinates (n, 2)."""
        return self.origin + outline[:, :1] * self.s_axis + outline[:, 1:] * self.t_axis

    @property
    def axes(self) -> Array:
        """The matrix (3, 3) with columns s_axis, t_axis, origin: (s, t, 1) -> world position."""
        return np.array([self.s_axis, self.t_axis, self.origin]).T


def ground_frame(height: float = 0.0) -> Frame:
    """Return a horizontal plane with (s, t) = (X, Z)."""
    return Frame(np.array([0, height, 0.0]), np.array([1.0, 0, 0]), np.array([0, 0, 1.0]))


def upright_frame(x: float, z: float, yaw: float = 0.0) -> Frame:
    """Return a vertical plane through (x, 0, z); yaw 0 faces us, pi/2 runs along the road."""
    along = np.array([np.cos(yaw), 0, np.sin(yaw)])
    return Frame(np.array([x, 0.0, z]), along, np.array([0, 1.0, 0]))


@dataclass(frozen=True)
class Camera:
    """A camera whose vertical lines stay vertical: it is aimed by shifting its image plane.

    Args:
        width, height: image size in pixels.
        focal: focal length in pixels.
        center: column in which a street straight ahead vanishes.
        horizon: row of the horizon.
        eye: height above the road in meters.
    """

    width: int
    height: int
    focal: float
    center: float
    horizon: float
    eye: float

    @property
    def position(self) -> Array:
        """World position (3,)."""
        return np.array([0, self.eye, 0.0])

    @property
    def nearest_ground(self) -> float:
        """Distance at which the lower image border meets the road, in meters."""
        return self.focal * self.eye / (self.height - 1 - self.horizon)

    def plane_to_image(self, axes: Array) -> Array:
        """Return H (..., 3, 3) of the module's docstring for planes given by `Frame.axes`."""
        intrinsics = np.array(
            [[self.focal, 0, self.center], [0, -self.focal, self.horizon], [0, 0, 1.0]]
        )
        relative = axes.copy()
        relative[..., 2] -= self.position
        return intrinsics @ relative

    def project(self, to_image: Array, outline: Array) -> Array:
        """Return the visible part of a planar polygon in the image: (m, 2), m = 0 if there is none.

        Args:
            to_image: H (3, 3) of its plane.
            outline: corners (n, 2) in the plane's coordinates.
        """
        homogeneous = outline @ to_image[:, :2].T + to_image[:, 2]  # (n, 3): u Z, v Z, Z
        homogeneous = clip_half_plane(homogeneous, homogeneous[:, 2] - NEAREST)
        if len(homogeneous) == 0:
            return homogeneous[:, :2]
        return self._clip_to_image(homogeneous[:, :2] / homogeneous[:, 2:])

    def _clip_to_image(self, polygon: Array) -> Array:
        (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
        if left >= 0 and top >= 0 and right <= self.width - 1 and bottom <= self.height - 1:
            return polygon
        if right < 0 or bottom < 0 or left > self.width - 1 or top > self.height - 1:
            return polygon[:0]
        for axis, size in ((0, self.width), (1, self.height)):
            polygon = clip_half_plane(polygon, polygon[:, axis])
            polygon = clip_half_plane(polygon, size - 1 - polygon[:, axis])
        return polygon


def clip_half_plane(polygon: Array, inside: Array) -> Array:
    """Keep the part of a polygon (n, k) where the linear function `inside` (n,) is not negative.

    >>> square = np.array([[0, 0], [2, 0], [2, 2], [0, 2.0]])
    >>> clip_half_plane(square, square[:, 0] - 1)[:, 0].min()
    1.0
    """
    if len(polygon) == 0 or inside.min() >= 0:
        return polygon
    if inside.max() < 0:
        return polygon[:0]
    kept = []
    for i in range(len(polygon)):
        before, here = inside[i - 1], inside[i]
        if (before < 0) != (here < 0):
            share = before / (before - here)
            kept.append(polygon[i - 1] + share * (polygon[i] - polygon[i - 1]))
        if here >= 0:
            kept.append(polygon[i])
    return np.array(kept)
