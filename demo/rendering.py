"""One finished view of a scene: picture, labels and depth of one image number."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from demo.domains import Domain
from demo.layout import draw_scene
from demo.photograph import photograph
from demo.render import Shape, depth_map, index_map, labelled, picture, project
from demo.textures import make_atlas


@dataclass(frozen=True)
class Rendering:
    """One finished view of a scene.

    image: (H, W, 3) uint8 RGB. depth: (H, W) uint8, 255 nearest. shapes: what is labelled and seen,
    back to front. index: (H, W), the number of the shape that each pixel shows.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    shapes: list[Shape]
    index: NDArray[np.int32]

    def look_up(self, value_of: Callable[[Shape], int]) -> NDArray[np.int64]:
        """Return a value of the shape that each pixel shows, (H, W)."""
        return np.array([value_of(shape) for shape in self.shapes])[self.index]


@lru_cache
def _atlas(domain_number: int, roughness: float) -> NDArray[np.float32]:
    """Return the domain's textures: the same for all of its images."""
    return make_atlas(np.random.default_rng((0, domain_number)), roughness)


def render(domain: Domain, index: int, size: tuple[int, int], seed: int) -> Rendering:
    """Draw image `index` of a domain, `size` = (width, height): a pure function."""
    rng = np.random.default_rng((seed, domain.number, index))
    scene = draw_scene(domain, index, size, rng)
    shapes = project(scene)
    atlas = _atlas(domain.number, domain.light.roughness)
    color, distance = picture(scene, shapes, domain.light, atlas)
    visible, numbers = _visible(labelled(shapes, domain.absent), size)
    return Rendering(
        image=photograph(color, distance, domain.light, rng),
        depth=depth_map(visible, numbers),
        shapes=visible,
        index=numbers,
    )


def _visible(shapes: list[Shape], size: tuple[int, int]) -> tuple[list[Shape], NDArray[np.int32]]:
    """Return the shapes of which a pixel shows, and their index map; hidden ones change nothing."""
    drawn = index_map(shapes, size)
    kept, numbers = np.unique(drawn, return_inverse=True)
    return [shapes[i] for i in kept], numbers.reshape(drawn.shape).astype(np.int32)
