"""Single images -> batches of one size."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from mmseg.preprocessing.depth_maps.pictures import Picture

# So many batches of images may wait for others of their size: many sizes must not fill the memory.
MAX_WAITING = 4


@dataclass(frozen=True)
class Batch:
    """Images of one size.

    numbers: of the images; pixels: of each, (3, h, w) float32; size: (H, W) of the images.
    """

    numbers: list[int]
    pixels: list[Tensor]
    size: tuple[int, int]


class Grouping:
    """Collects images as they come until a batch of one size is full.

    When many sizes wait, the largest group goes as a smaller batch, so that no more than
    `MAX_WAITING` batches' images ever wait.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.groups: dict[tuple[int, int], list[Picture]] = {}

    def add(self, picture: Picture) -> Iterator[Batch]:
        """Take an image; yield the batch that is to go now, if there is one."""
        group = self.groups.setdefault(picture.size, [])
        group.append(picture)
        if len(group) == self.batch_size:
            yield self._take(picture.size)
        elif self.num_waiting == MAX_WAITING * self.batch_size:
            yield self._take(max(self.groups, key=lambda size: len(self.groups[size])))

    def rest(self) -> Iterator[Batch]:
        """Yield what still waits, in batches that may be smaller."""
        while self.groups:
            yield self._take(next(iter(self.groups)))

    @property
    def num_waiting(self) -> int:
        """How many images wait."""
        return sum(map(len, self.groups.values()))

    def _take(self, size: tuple[int, int]) -> Batch:
        group = self.groups.pop(size)
        return Batch([item.number for item in group], [item.pixels for item in group], size)
