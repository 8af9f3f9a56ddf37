"""What the public test servers of datasets take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerRule:
    """What a test server takes: for each image of a split an 8-bit gray PNG, called like it.

    Attributes:
        images: the folder of the images of all splits, in the root of the dataset.
        size: width and height of the images of the split `test`.
        num_ids: the values are 0 … num_ids - 1; none is ignored.
        takes_label_ids: whether they are label ids, or else train ids.
    """

    images: str
    size: tuple[int, int]
    num_ids: int
    takes_label_ids: bool

    @property
    def ids(self) -> str:
        """What the values are, in words.

        >>> ServerRule("leftImg8bit", (2048, 1024), 34, takes_label_ids=True).ids
        'label ids 0…33'
        """
        return f"{'label' if self.takes_label_ids else 'train'} ids 0…{self.num_ids - 1}"
