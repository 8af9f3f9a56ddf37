"""What a test writes for every image: pictures, files for a test server, one file of all labels.

Predictions come one by one and are not kept, except for the file of all labels: compressed (label
maps shrink to about a hundredth), until the last image is labeled.
"""

import pickle
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.image_files import read_color, write_label
from mmseg.engine.logs import get_logger
from mmseg.system import processes
from mmseg.system.files import atomic_write
from mmseg.visualization.palettes import heat, paint, save_picture

Packed = tuple[int, tuple[int, ...], bytes]  # index, shape, compressed uint8 values


class PredictionFiles:
    """Takes label maps one by one and, as asked, paints, formats, or keeps them.

    Pictures go to `show_dir`; an `opacity` of 1 writes palette PNGs of train ids. `out` is a pickle
    file of all label maps, a list in the order of the images. `formats` are options of the
    dataset's `format_results`. None stands for no such files.
    """

    def __init__(
        self,
        dataset: Any,
        show_dir: str | None = None,
        opacity: float = 1.0,
        out: str | None = None,
        formats: Mapping[str, Any] | None = None,
    ) -> None:
        self.dataset, self.show_dir, self.opacity = dataset, show_dir, opacity
        self.out, self.formats = out, formats
        self._kept: list[Packed] = []

    def take(self, index: int, prediction: np.ndarray) -> None:
        """Take the (H, W) uint8 label map of image `index`."""
        if self.show_dir is not None:
            image = _read_rgb(self.dataset, index) if self.opacity < 1 else None
            file = _picture_file(self.dataset, index, self.show_dir)
            paint(file, prediction, image, self.opacity)
        if self.formats is not None:
            self.dataset.format_results([prediction], indices=[index], **self.formats)
        if self.out is not None:
            packed = zlib.compress(prediction.astype(np.uint8).tobytes(), level=1)
            self._kept.append((index, prediction.shape, packed))

    def finish(self) -> None:
        """Write the file of all labels; wait until every process has written its pictures."""
        processes.barrier()
        if self.out is None:
            return
        parts = processes.gather_objects(self._kept)
        if processes.is_main():
            ordered = sorted(item for part in parts for item in part)
            with atomic_write(self.out) as file:
                pickler = pickle.Pickler(file)
                pickler.fast = True  # else it would hold every array until the last is written
                pickler.dump(_StreamedList(ordered))
            get_logger().info(f"Wrote {len(ordered)} label maps to {self.out}")


class AttentionPictures:
    """Paints maps of HRDA's attention: gray, or (opacity below 1) as colors over the image."""

    def __init__(self, dataset: Any, show_dir: str, opacity: float = 1.0) -> None:
        self.dataset, self.show_dir, self.opacity = dataset, show_dir, opacity

    def take(self, index: int, attention: np.ndarray) -> None:
        """Take the (H, W) map of image `index`, from 0 (context) to 1 (detail)."""
        file = _picture_file(self.dataset, index, self.show_dir)
        if self.opacity >= 1:
            write_label(file, np.rint(attention.clip(0, 1) * 255))
            return
        image = _read_rgb(self.dataset, index).astype(np.float32)
        mixed = (1 - self.opacity) * image + self.opacity * heat(attention)
        save_picture(file, np.rint(mixed).clip(0, 255).astype(np.uint8))

    def finish(self) -> None:
        """Wait until every process has written its pictures."""
        processes.barrier()


class _StreamedList:
    """Pickles as the list of label maps, unpacking only one at a time."""

    def __init__(self, items: Sequence[Packed]) -> None:
        self.items = items

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), None, self._unpacked()

    def _unpacked(self) -> Iterator[np.ndarray]:
        for _, shape, packed in self.items:
            yield np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape).copy()


def _picture_file(dataset: Any, index: int, folder: str) -> Path:
    """Return the PNG file for the picture of image `index`, below `folder` as the image is."""
    return (Path(folder) / dataset.img_infos[index]["filename"]).with_suffix(".png")


def _read_rgb(dataset: Any, index: int) -> np.ndarray:
    """Read image `index` of a dataset as (H, W, 3) uint8 RGB."""
    return read_color(Path(dataset.img_dir) / dataset.img_infos[index]["filename"])[..., ::-1]
