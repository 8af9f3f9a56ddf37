"""What lines a street: buildings, walls, fences, hedges and trees.

A stretch of frontage runs from `near` to `far` (Z, meters) at lateral position `x`; `side` is -1 on
the left and 1 on the right. Everything here is background, drawn before
what stands in the street.
"""

from dataclasses import dataclass

import numpy as np

from demo.camera import Frame, ground_frame, upright_frame
from demo.materials import Palette
from demo.scene import Face, Thing, bar, rectangle


@dataclass(frozen=True)
class Stretch:
    """A piece of one side of the street."""

    side: int
    x: float
    near: float
    far: float

    @property
    def length(self) -> float:
        """Extent along the street in meters."""
        return self.far - self.near

    @property
    def front(self) -> Frame:
        """The vertical plane along the street: s counts from the near end, t up."""
        return upright_frame(self.x, self.near, np.pi / 2)

    def end(self, z: float, depth: float = 12.0) -> tuple[Frame, float]:
        """Return the plane across the street at `z`, behind the frontage, and where it starts."""
        return upright_frame(self.x, z), (0.0 if self.side > 0 else -depth)


def building(stretch: Stretch, palette: Palette, height: float) -> list[Face]:
    """Draw a house: windowed front and gable, a door, sometimes a ground floor of shop windows."""
    rng = palette.rng
    paint = palette.pick("building")
    door = palette.pick("door")
    gable, start = stretch.end(stretch.near)
    faces = [
        Face(gable, rectangle(start, 0, start + 12, height), paint, "building"),
        Face(stretch.front, rectangle(0, 0, stretch.length, height), paint, "building"),
    ]
    if rng.random() < 0.5:
        glass = palette.pick("glass")
        panes = np.arange(0.6, stretch.length - 2.4, 3.0)
        faces += [Face(stretch.front, rectangle(s, 0.4, s + 2.4, 2.6), glass) for s in panes]
    middle = stretch.length * rng.uniform(0.3, 0.7)
    faces.append(Face(stretch.front, rectangle(middle, 0, middle + 1.3, 2.3), door))
    if rng.random() < 0.6:
        roof = palette.pick("roof")
        faces.append(
            Face(
                stretch.front, rectangle(0, height, stretch.length, height + 1.6), roof, "building"
            )
        )
        faces.append(
            Face(gable, rectangle(start, height, start + 12, height + 1.6), roof, "building")
        )
    return faces


def wall(stretch: Stretch, palette: Palette) -> list[Face]:
    """Draw a free-standing wall of 1.8 to 3 m with a coping."""
    height = palette.rng.uniform(1.8, 3.0)
    paint, coping = palette.pick_all("wall", "curb")
    gable, start = stretch.end(stretch.near, 0.4)
    faces = [
        Face(gable, rectangle(start, 0, start + 0.4, height), paint, "wall"),
        Face(stretch.front, rectangle(0, 0, stretch.length, height), paint, "wall"),
    ]
    top = rectangle(0, height - 0.24, stretch.length, height)
    return [*faces, Face(stretch.front, top, coping)]


def fence(stretch: Stretch, palette: Palette) -> list[Face]:
    """Draw boards on posts; one sees through between them, and yet all of it is `fence`.

    The boards lie flat because the street foreshortens what stands upright to less than a pixel.
    """
    height = palette.rng.uniform(1.7, 2.3)
    paint = palette.pick("fence")
    front, pitch = stretch.front, height / 4
    faces = [Face(front, rectangle(0, 0, stretch.length, height), None, "fence")]
    boards = [rectangle(0, t, stretch.length, t + 0.65 * pitch) for t in pitch * np.arange(0.3, 4)]
    posts = [rectangle(s, 0, s + 0.3, height) for s in np.arange(0, stretch.length, 2.0)]
    return faces + [Face(front, outline, paint) for outline in boards + posts]


def hedge(stretch: Stretch, palette: Palette) -> list[Face]:
    """Draw a clipped hedge of 1 to 2.5 m."""
    height = palette.rng.uniform(1.0, 2.5)
    paint = palette.pick("leaves")
    gable, start = stretch.end(stretch.near, 1.0)
    return [
        Face(gable, rectangle(start, 0, start + 1, height), paint, "vegetation"),
        Face(stretch.front, rectangle(0, 0, stretch.length, height), paint, "vegetation"),
    ]


def lawn(stretch: Stretch, palette: Palette, depth: float = 40.0) -> list[Face]:
    """Grass behind the frontage line."""
    edges = sorted((stretch.x, stretch.x + stretch.side * depth))
    outline = rectangle(edges[0], stretch.near, edges[1], stretch.far)
    return [Face(ground_frame(), outline, palette.pick("terrain"), "terrain")]


def tree(x: float, z: float, palette: Palette, size: float = 1.0) -> Thing:
    """Draw a tree: a trunk and a crown of overlapping clumps of leaves, 4 to 9 m high."""
    rng = palette.rng
    height = size * rng.uniform(4.5, 8.0)
    radius = height * rng.uniform(0.22, 0.32)
    trunk = palette.pick("trunk")
    frame = upright_frame(x, z)
    wide = 0.035 * height
    faces = [Face(frame, rectangle(-wide, 0, wide, 0.6 * height), trunk, "vegetation")]
    faces.append(
        Face(frame, bar((0, 0.4 * height), (radius, 0.65 * height), wide), trunk, "vegetation")
    )
    for depth in (0.5, 0.2, -0.1, -0.4):
        shift = rng.uniform(-0.5, 0.5, 2) * radius
        middle = shift + (0, height - radius)
        clump = upright_frame(x, z + depth * radius)
        outline = middle + radius * rng.uniform(0.7, 0.95) * _blob(rng)
        faces.append(Face(clump, outline, palette.pick("leaves"), "vegetation"))
    around = radius * np.array([(-0.6, -0.6), (0.6, -0.6), (0.6, 0.6), (-0.6, 0.6)])
    return Thing(faces, z, np.array([x, z]) + around, height)


def bush(x: float, z: float, palette: Palette) -> Thing:
    """Draw a round bush of 1 to 2 m."""
    rng = palette.rng
    radius = rng.uniform(0.5, 1.0)
    outline = np.maximum((0, 0.8 * radius) + radius * _blob(rng), (-9, 0))
    face = Face(upright_frame(x, z), outline, palette.pick("leaves"), "vegetation")
    around = radius * np.array([(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)])
    return Thing([face], z, np.array([x, z]) + around, radius)


def _blob(rng: np.random.Generator, corners: int = 22) -> np.ndarray:
    """Return a wavy circle of about radius 1: (corners, 2)."""
    angle = 2 * np.pi * np.arange(corners) / corners
    radius = 1 + 0.04 * rng.standard_normal(corners)
    for waves in (2, 3, 5):
        radius += 0.07 * np.sin(waves * angle + rng.uniform(0, 6))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
