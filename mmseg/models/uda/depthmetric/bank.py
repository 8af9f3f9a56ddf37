"""The bank: class-wise depth histograms of the source crops, one row for each class of each crop.

Legend: B images, C classes, D = 256 depth bins (0…255), M source crops, K bins that occur in any of
them, R rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from mmseg.datasets.depth.bank_files import load_bank
from mmseg.datasets.depth.rows import compact

__all__ = ["Bank", "load_bank"]


class Bank(nn.Module):
    """The histograms of the source crops as rows of counts, without what is empty.

    The tensors are no buffers: they have files of their own, so checkpoints lack them, and every
    process reads them, so none sends them to the others. They follow the module to another device,
    and keep their precision.

    Args:
        content: (M, C, D) counts, or what `compact` makes of them.
    """

    places: Tensor  # (S, M, C) int32, the rows of the S stores whose sum is a crop's class
    rows: Tensor  # (C, M) int32, the same where the stores follow each other
    classes: Tensor  # (R,) int32, class of a row
    totals: Tensor  # (R,) float64 pixels of a row, not 0
    norms: Tensor  # (R,) float64 twice the L2 norm of a row by `PARTS`, not 0
    sizes: Tensor  # (C, M) pixels of a crop's class
    size_norms: Tensor  # (M,) float64 L2 norm of a crop's sizes times `PARTS`, not 0
    bins: Tensor  # (K,) int64

    def __init__(self, content: Tensor | Mapping[str, Tensor]) -> None:
        super().__init__()
        self.tensors = compact(content) if isinstance(content, Tensor) else dict(content)

    def __getattr__(self, name: str) -> Any:
        """Return one of the tensors."""
        tensors = self.__dict__.get("tensors", {})
        return tensors[name] if name in tensors else super().__getattr__(name)

    def __len__(self) -> int:
        return self.rows.shape[1]

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.rows)

    @property
    def stores(self) -> list[Tensor]:
        """The counts, (n, K) each; row 0 of each is empty."""
        return [tensor for name, tensor in self.tensors.items() if name.startswith("counts")]

    def _apply(self, fn: Any, recurse: bool = True) -> "Bank":
        """Follow the device, not the precision, of what `Module.to` and the like ask for."""
        device = fn(self.bins.new_zeros(0)).device
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return super()._apply(fn, recurse)

    def counts(self, places: Tensor) -> Tensor:
        """Return the counts (n, K) of the rows at `places`, (S, n)."""
        parts = zip(self.stores, places, strict=True)
        first, *others = (store.index_select(0, rows) for store, rows in parts)
        return sum(others, first)

    def of_crops(self, index: Tensor) -> Tensor:
        """Return the counts (B, C, K) of the crops numbered `index`, (B,)."""
        places = self.places.index_select(1, index).flatten(1)
        return self.counts(places).view(len(index), self.num_classes, -1)

    def blocks(self, num_rows: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows in blocks of at most `num_rows`, each with its place among all."""
        first = 0
        for store in self.stores:
            for counts in store.split(max(num_rows, 1)):
                yield slice(first, first + len(counts)), counts
                first += len(counts)
