"""From a scene to polygons, and from polygons to label, depth and picture.

Polygons are drawn into an *index map*, whose pixels say which face they show; everything else is a
look-up in tables of faces. So label, instance and depth share their borders exactly, and each pixel
of the picture is shaded once ("deferred shading").

Legend: F faces, H x W pixels, S = SUPERSAMPLING.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo.camera import Array, Camera, ground_frame
from demo.domains import Light
from demo.scene import Face, Material, Scene
from demo.textures import TEXELS, TILE_NUMBER

Floats = NDArray[np.floating]

SUPERSAMPLING = 2
"""The picture is drawn this many times larger and averaged: smooth edges, as a lens makes them."""

SUN = np.array([0.5, 0.75, -0.43])
"""Direction towards the sun: to the right, high, behind the camera."""


@dataclass(frozen=True)
class Shape:
    """A face as the camera sees it: a polygon (n, 2) in pixels and the inverse of its plane's H."""

    face: Face
    polygon: Array
    to_plane: Array  # (3, 3)
    instance: int

    @property
    def corners(self) -> list[tuple[int, int]]:
        """The polygon's corners as whole pixels, as label files store them."""
        return [(round(u), round(v)) for u, v in self.polygon.tolist()]


def project(scene: Scene) -> list[Shape]:
    """Return the visible faces of a scene, back to front."""
    instances, faces = zip(*scene.ordered(), strict=True)
    to_image = scene.camera.plane_to_image(np.array([face.frame.axes for face in faces]))
    is_edge_on = np.abs(np.linalg.det(to_image)) < 1e-6
    to_image[is_edge_on] = np.eye(3)
    to_plane = np.linalg.inv(to_image)
    shapes = []
    for i in np.flatnonzero(~is_edge_on):
        polygon = scene.camera.project(to_image[i], faces[i].outline)
        if len(polygon) >= 3:
            shapes.append(Shape(faces[i], polygon, to_plane[i], instances[i]))
    return shapes


def labelled(shapes: list[Shape], absent: frozenset[str]) -> list[Shape]:
    """Return the shapes that a label map shows: no specks, and no labels that a dataset lacks."""
    return [
        shape
        for shape in shapes
        if shape.face.label
        and shape.face.label not in absent
        and np.ptp(shape.polygon, axis=0).max() >= 1.5
    ]


def index_map(shapes: list[Shape], size: tuple[int, int]) -> NDArray[np.int32]:
    """Draw polygons over each other: (H, W), the number of the topmost shape."""
    image = Image.new("I", size, 0)
    draw = ImageDraw.Draw(image)
    for number, shape in enumerate(shapes):
        draw.polygon(shape.corners, fill=number)
    return np.asarray(image)


def depth_map(shapes: list[Shape], index: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return relative inverse depth as Depth Anything stores it: 255 nearest, 0 farthest."""
    v, u = np.indices(index.shape)
    a, b, c = np.array([shape.to_plane[2] for shape in shapes]).T  # (F,) each
    inverse = a[index] * u + b[index] * v + c[index]
    span = inverse.max() - inverse.min()
    return (255 * ((inverse - inverse.min()) / span)).astype(np.uint8)


def picture(
    scene: Scene, shapes: list[Shape], light: Light, atlas: Floats
) -> tuple[Floats, Floats]:
    """Return the scene's color (H, W, 3) in 0...1 and its distance (H, W) in meters."""
    camera = scene.camera
    painted = [shape for shape in shapes if shape.face.material is not None]
    size = (camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)
    index = _fine_index_map(painted, size)
    s, t, distance = _plane_coordinates(painted, index)
    color = _textured(painted, index, s, t, atlas)
    color *= _brightness(painted, camera, light).take(index)[..., None]
    color *= _shadow(scene, painted, index, light)[..., None]
    small = (camera.width, camera.height)
    color = cv2.resize(color, small, interpolation=cv2.INTER_AREA)
    return color, cv2.resize(distance, small, interpolation=cv2.INTER_AREA)


def _materials(shapes: list[Shape]) -> list[Material]:
    return [material for shape in shapes if (material := shape.face.material)]


def _fine(polygon: Array) -> list[tuple[float, ...]]:
    """Return a polygon in the pixels of the enlarged picture."""
    shift = (SUPERSAMPLING - 1) / 2
    return [tuple(point) for point in (polygon * SUPERSAMPLING + shift).tolist()]


def _fine_index_map(shapes: list[Shape], size: tuple[int, int]) -> NDArray[np.intp]:
    image = Image.new("I", size, 0)
    draw = ImageDraw.Draw(image)
    for number, shape in enumerate(shapes):
        draw.polygon(_fine(shape.polygon), fill=number)
    return np.asarray(image).astype(np.intp)


def _plane_coordinates(
    shapes: list[Shape], index: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats]:
    """Return s, t in meters and the distance Z of each pixel of the enlarged picture."""
    height, width = index.shape
    shift = (SUPERSAMPLING - 1) / 2
    u = ((np.arange(width) - shift) / SUPERSAMPLING).astype(np.float32)
    v = ((np.arange(height) - shift) / SUPERSAMPLING).astype(np.float32)[:, None]
    table = np.array([shape.to_plane for shape in shapes], dtype=np.float32)  # (F, 3, 3)
    rows = [
        table[:, k, 0].take(index) * u + table[:, k, 1].take(index) * v + table[:, k, 2].take(index)
        for k in range(3)
    ]
    distance = 1 / np.maximum(rows[2], 1e-3)
    return rows[0] * distance, rows[1] * distance, distance


def _textured(
    shapes: list[Shape],
    index: NDArray[np.intp],
    s: Floats,
    t: Floats,
    atlas: Floats,
) -> Floats:
    """Look up each pixel's texel; where texels are finer than pixels, fade to the tile's mean."""
    materials = _materials(shapes)
    tile = np.array([TILE_NUMBER[m.tile] for m in materials]).take(index)
    fineness = np.array([TEXELS / m.scale for m in materials], dtype=np.float32).take(index)
    column = (s * fineness).astype(np.int64) % TEXELS
    row = (t * fineness).astype(np.int64) % TEXELS
    texel = atlas.reshape(-1, 2).take((tile * TEXELS + row) * TEXELS + column, axis=0)
    texels_per_pixel = fineness * np.maximum(_step(s, axis=1), _step(t, axis=0))
    sharp = np.clip(1.6 - 0.08 * texels_per_pixel, 0, 1)[..., None]
    mean = atlas.mean(axis=(1, 2)).take(tile, axis=0)
    texel = mean + sharp * (texel - mean)
    grain, mark = texel[..., :1], texel[..., 1:]
    base = np.array([m.color for m in materials], dtype=np.float32).take(index, axis=0)
    marks = np.array([m.mark for m in materials], dtype=np.float32).take(index, axis=0)
    return base * (grain * (1 - mark)) + marks * mark


def _step(values: Floats, axis: int) -> Floats:
    """Return how much values change from one pixel to the next; the first line repeats."""
    return np.abs(np.diff(values, axis=axis, prepend=values.take([0], axis=axis)))


def _brightness(shapes: list[Shape], camera: Camera, light: Light) -> Floats:
    """Return the light on each face (F,): ambient plus sun by angle."""
    axes = np.array([shape.face.frame.axes for shape in shapes])  # (F, 3, 3)
    normals = np.cross(axes[..., 0], axes[..., 1])
    away = np.sum(normals * (camera.position - axes[..., 2]), axis=-1) < 0
    normals[away] *= -1
    glow = np.array([material.glow for material in _materials(shapes)])
    lit = light.ambient + light.sun * np.clip(normals @ SUN, 0, 1) / SUN[1]
    return (glow + (1 - glow) * lit).astype(np.float32)


def _shadow(scene: Scene, shapes: list[Shape], index: NDArray[np.intp], light: Light) -> Floats:
    """Return 1 in the light, `light.shadow` in shadows; they fall on the ground only."""
    image = Image.new("L", index.shape[::-1], 0)
    draw = ImageDraw.Draw(image)
    to_image = scene.camera.plane_to_image(ground_frame().axes)
    for outline in scene.shadows(light.shadow_reach):
        polygon = scene.camera.project(to_image, outline)
        if len(polygon) >= 3:
            draw.polygon(_fine(polygon), fill=255)
    dark = np.asarray(image, dtype=np.float32) / 255
    dark = cv2.GaussianBlur(dark, (0, 0), light.shadow_blur * SUPERSAMPLING)
    is_ground = np.array([shape.face.frame.t_axis[1] == 0 for shape in shapes]).take(index)
    return 1 - (1 - light.shadow) * dark * is_ground
