"""Which images the demo datasets consist of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .domains import CITYSCAPES, GTA, SYNTHIA, Domain
from .writers import Rendering, render, write_cityscapes, write_gta, write_synthia

SIZES = {"gta": (320, 180), "synthia": (320, 190), "cityscapes": (320, 160)}
"""(width, height) by default: a fraction of the real ones, about their proportions."""

TEST_IMAGES = 6

SPLIT_START = {"train": 0, "val": 100_000, "test": 200_000}
"""First image number of a split, so that no two splits share a scene."""


@dataclass(frozen=True)
class Job:
    """One image to draw and the function that writes it."""

    domain: Domain
    index: int
    size: tuple[int, int]
    write: Callable[[Rendering], None]

    def run(self, seed: int) -> None:
        """Draw and write the image, its label and its depth."""
        self.write(render(self.domain, self.index, self.size, seed))


def demo_jobs(
    out: Path, source_images: int, target_images: int, size: tuple[int, int] | None = None
) -> list[Job]:
    """List all images: GTA, half as many of SYNTHIA, Cityscapes with half as many for validation."""

    def jobs(domain: Domain, count: int, start: int, write: Callable) -> list[Job]:
        shape = size or SIZES[domain.name]
        root = out / domain.name
        return [Job(domain, start + i, shape, partial(write, root, i)) for i in range(count)]

    listed = jobs(GTA, source_images, 0, write_gta)
    listed += jobs(SYNTHIA, source_images // 2, 0, write_synthia)
    counts = {"train": target_images, "val": target_images // 2, "test": TEST_IMAGES}
    for split, count in counts.items():
        write = partial(_write_split, split)
        listed += jobs(CITYSCAPES, count, SPLIT_START[split], write)
    return listed


def _write_split(split: str, root: Path, number: int, view: Rendering) -> None:
    write_cityscapes(root, split, number, view)
