"""What a scene is made of: labelled planar faces, in the order in which a painter draws them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from demo.camera import Array, Camera, Frame

Color = tuple[float, float, float]
"""Red, green, blue in 0...1."""


@dataclass(frozen=True)
class Material:
    """How a face is painted: its color, and a texture tile that repeats every `scale` meters.

    A tile has two channels: grain (brightness, mean 1) and marks (mortar, window panes, gaps
    between leaves; 0...1), which are painted in `mark`.
    """

    color: Color
    mark: Color = (0, 0, 0)
    tile: str = "plain"
    scale: float = 2.0
    glow: float = 0.0  # 1: as bright in the shade as in the sun


@dataclass(frozen=True)
class Face:
    """A polygon on a plane in space.

    `label` is a Cityscapes label name, or None for paint on top of another face (a car's windows).
    `material` is None where something is labelled but one sees through it (between a fence's bars).
    """

    frame: Frame
    outline: Array  # (n, 2) plane coordinates
    material: Material | None
    label: str | None = None


@dataclass(frozen=True)
class Thing:
    """Faces that stand together on the ground, farthest first.

    `nearest` is the distance by which things are sorted. `footprint` (n, 2) in (X, Z) and `height`
    are what its shadow needs.
    """

    faces: list[Face]
    nearest: float
    footprint: Array
    height: float


@dataclass
class Scene:
    """Everything in front of one camera: background faces back to front, then things."""

    camera: Camera
    background: list[Face] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    foreground: list[Face] = field(default_factory=list)

    def ordered(self) -> Iterable[tuple[int, Face]]:
        """Yield (instance, face) back to front; instance 0 is the background."""
        yield from ((0, face) for face in self.background)
        things = sorted(self.things, key=lambda thing: -thing.nearest)
        for number, thing in enumerate(things, start=1):
            yield from ((number, face) for face in thing.faces)
        yield from ((0, face) for face in self.foreground)

    def shadows(self, reach: tuple[float, float]) -> Iterable[Array]:
        """Yield each thing's shadow (n, 2) in (X, Z): its footprint drawn out by height x reach."""
        for thing in self.things:
            shifted = thing.footprint + thing.height * np.array(reach)
            yield convex_hull(np.concatenate([thing.footprint, shifted]))


def convex_hull(points: Array) -> Array:
    """Return the corners (m, 2) of the convex hull of (n, 2) points, in order."""
    ordered = sorted(map(tuple, points))
    halves = [_half_hull(ordered), _half_hull(ordered[::-1])]
    return np.array(halves[0][:-1] + halves[1][:-1])


def _half_hull(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    hull: list[tuple[float, ...]] = []
    for x, y in points:
        while len(hull) >= 2:
            (ax, ay), (bx, by) = hull[-2], hull[-1]
            if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def rectangle(s0: float, t0: float, s1: float, t1: float) -> Array:
    """Return the four corners of a box in plane coordinates."""
    return np.array([[s0, t0], [s1, t0], [s1, t1], [s0, t1]], dtype=float)


def disc(s: float, t: float, radius: float, corners: int = 12) -> Array:
    """Return a regular polygon around (s, t)."""
    angle = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    return np.column_stack([s + radius * np.cos(angle), t + radius * np.sin(angle)])


def ring(s: float, t: float, radius: float, thickness: float) -> Array:
    """Return a ring as one polygon: around the rim, across a slit, back along the inner edge."""
    outer, inner = disc(s, t, radius), disc(s, t, radius - thickness)
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def bar(start: tuple[float, float], end: tuple[float, float], thickness: float) -> Array:
    """Return a straight rod between two points of the plane."""
    a, b = np.array(start, dtype=float), np.array(end, dtype=float)
    side = np.array([a[1] - b[1], b[0] - a[0]]) * (thickness / 2 / np.linalg.norm(b - a))
    return np.array([a + side, b + side, b - side, a - side])
