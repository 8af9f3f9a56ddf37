"""Draw source crops, write them as PNG files and find them again.

Legend: M crops, H×W pixels. Crop i is a pure function of (seed, i), so it does not matter which
worker draws it, or whether a run was interrupted before it.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset

from mmseg.datasets.image_files import read_label, verify_file
from mmseg.datasets.loader import Guarded, items_of, start_worker, unguarded
from mmseg.system.files import atomic_write, remove_partials
from mmseg.visualization.pixels import denormalize

_T = TypeVar("_T")
PARTS = ("images", "labels", "depth")


@dataclass(frozen=True)
class Crop:
    """One source crop as it is stored.

    image: (H, W, 3) uint8, BGR; label: (H, W) uint8 train ids; depth: (H, W) uint8 bins.
    """

    image: np.ndarray
    label: np.ndarray
    depth: np.ndarray

    def encode(self) -> tuple[bytes, bytes, bytes]:
        """Return the PNG files of image, label and depth, the last two plain 8-bit grayscale."""
        return encode_png(self.image), encode_png(self.label), encode_png(self.depth)


class CropFolder:
    """`images/<i>.png`, `labels/<i>.png` and `depth/<i>.png` below one folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def file(self, part: str, index: int) -> Path:
        """Return the path of one part ('images', 'labels' or 'depth') of a crop."""
        return self.root / part / f"{index}.png"

    def write(self, index: int, crop: Crop) -> None:
        """Write the three files of a crop."""
        for part, data in zip(PARTS, crop.encode(), strict=True):
            with atomic_write(self.file(part, index)) as file:
                file.write(data)

    def read(self, part: str, index: int) -> np.ndarray:
        """Read a label or depth file as (H, W) uint8."""
        path = self.file(part, index)
        return self._checked(path, lambda: read_label(path))

    def verify_image(self, index: int) -> None:
        """Raise if an image file is damaged."""
        path = self.file("images", index)
        self._checked(path, lambda: verify_file(path))

    def remove_partials(self) -> None:
        """Delete the temporary files that a killed run left."""
        for folder in (self.root, *(self.root / part for part in PARTS)):
            remove_partials(folder)

    def missing(self, num: int) -> list[int]:
        """Return the indices below `num` of which a file is absent."""
        present = set(range(num))
        for part in PARTS:
            folder = self.root / part
            names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            present = {index for index in present if f"{index}.png" in names}
        return [index for index in range(num) if index not in present]

    def is_empty(self) -> bool:
        """Tell whether no crop was ever written here."""
        return not any(any((self.root / part).glob("*.png")) for part in PARTS)

    def _checked(self, path: Path, read: Callable[[], _T]) -> _T:
        """Return what `read` reads from a file of a crop, or say how it is drawn anew."""
        try:
            return read()
        except (OSError, ValueError) as error:
            raise type(error)(f"{error} {redraw(path)}") from error


def redraw(path: Path) -> str:
    """Say how a crop is drawn anew."""
    return f"Delete '{path}' and start run_seg.py again: it draws the missing crops."


class CropWriter(Dataset[int]):
    """Item k draws crop `indices[k]`, writes it and returns its index."""

    def __init__(self, dataset: Any, folder: CropFolder, seed: int, indices: Sequence[int]) -> None:
        self.dataset, self.folder, self.seed, self.indices = dataset, folder, seed, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> int:
        index = self.indices[item]
        self.folder.write(index, draw_crop(self.dataset, self.seed, index))
        return index


def draw_crop(dataset: Any, seed: int, index: int) -> Crop:
    """Draw crop number `index` from the source side of a `UDADataset`."""
    sample = dataset.source_sample(np.random.default_rng((seed, index)))
    if "depth" not in sample:
        raise ValueError(
            "expected source samples with depth, got none; set data.train.source.dep_dir."
        )
    return Crop(
        image=denormalize(sample["img"], sample["img_metas"]["img_norm_cfg"]),
        label=sample["gt_semantic_seg"].reshape(sample["depth"].shape).numpy().astype(np.uint8),
        depth=np.asarray(sample["depth"]).astype(np.uint8),  # truncated, 0…255
    )


def each_item(
    task: Dataset[Any], workers: int, pin_memory: bool = False
) -> Generator[Any, None, None]:
    """Yield `task[0]`, `task[1]`, … in order, computed by `workers` processes (0: this one)."""
    loader = DataLoader(
        Guarded(task),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=start_worker,
        pin_memory=pin_memory,
    )
    with closing(items_of(loader, lambda item: item)) as items:  # the workers end with an error
        while True:
            try:
                item = next(items)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                lost = lost_worker(error, workers)
                if lost is None:
                    raise
                break
            yield unguarded(item)
    raise lost  # here, where nothing keeps the loader any more: its other workers have ended


def lost_worker(error: Exception, workers: int) -> ChildProcessError | None:
    """Return the sentence for what a loader says when one of its workers was killed; else None.

    It says `RuntimeError` at any moment, not only when it is asked for the next item. Where the
    worker had just handed over a tensor, it raises what its connection does.
    """
    is_lost = "DataLoader worker" in str(error) or not isinstance(error, RuntimeError)
    if not is_lost or workers == 0:
        return None
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
    if not isinstance(error, RuntimeError):
        reason = f"one of them is gone ({reason})"
    return ChildProcessError(
        f"expected {workers} workers to run to the end, got: {reason.removesuffix('.')}. Start the "
        "same command again to continue, with a smaller --num-workers if the memory was full."
    )


def encode_png(array: np.ndarray) -> bytes:
    """Return the PNG file of (H, W) or (H, W, 3) uint8, blue first."""
    ok, data = cv2.imencode(".png", array)
    if not ok:
        raise ValueError(f"expected an 8-bit picture, got {array.dtype} {array.shape}.")
    return data.tobytes()
