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
from mmseg.datasets.joint import parts_of
from mmseg.datasets.labels import PALETTE
from mmseg.datasets.pipelines.resizing import with_short_side
from mmseg.engine.logs import get_logger
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write
from mmseg.system.outputs import check_output_folder, check_replaced, png_names, real_path
from mmseg.visualization.palettes import Colors, heat, paint, save_picture

Packed = tuple[int, tuple[int, ...], bytes]  # index, shape, compressed uint8 values


class PredictionFiles:
    """Takes label maps one by one and, as asked, paints, formats, or keeps them.

    Pictures go to `show_dir`, in the colors of the dataset's classes, or those of `palette` if it
    has none; an `opacity` of 1 writes palette PNGs of train ids. `out` is a pickle
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
        palette: Colors | None = None,
    ) -> None:
        self.palette = dataset.PALETTE or palette or PALETTE
        self.dataset, self.show_dir, self.opacity = dataset, show_dir, opacity
        self.out, self.formats = out, formats
        self._names = [] if show_dir is None else _picture_names(dataset)
        self._kept: list[Packed] = []

    def take(self, index: int, prediction: np.ndarray) -> None:
        """Take the (H, W) uint8 label map of image `index`."""
        if self.show_dir is not None:
            image = _read_rgb(self.dataset, index) if self.opacity < 1 else None
            file = Path(self.show_dir, self._names[index])
            paint(file, prediction, image, self.opacity, self.palette)
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
        self._names = _picture_names(dataset)

    def take(self, index: int, attention: np.ndarray) -> None:
        """Take the (H, W) map of image `index`, from 0 (context) to 1 (detail)."""
        file = Path(self.show_dir, self._names[index])
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


def check_written(
    dataset: Any, inputs: Sequence[Path], show_dir: str | None, server_dir: str | None
) -> None:
    """Raise `ConfigError` if what is written of an image replaces what is read, or each other.

    `inputs` are folders that are read.
    """
    pictures = [Path(show_dir, name) for name in _picture_names(dataset)] if show_dir else []
    served = [Path(server_dir, name) for name in dataset.server_names] if server_dir else []
    for folder in {file.parent for file in [*pictures, *served]}:
        # A folder that was not refused itself may hold a link to one that is.
        check_output_folder(folder, inputs)
    if equal := {real_path(f) for f in pictures} & {real_path(f) for f in served}:
        raise ConfigError(
            f"expected other files for --show-dir than for imgfile_prefix, got {str(min(equal))!r} "
            "for both. Choose two folders."
        )
    wish = "no picture in the place of a file of the dataset"
    check_replaced([*pictures, *served], _read_files(dataset), wish)


def _read_files(dataset: Any) -> Iterator[Path]:
    """Yield the images of a dataset and their labels."""
    for part in parts_of(dataset):
        for info in part.img_infos:
            yield Path(part.img_dir, info["filename"])
            if part.ann_dir is not None:
                yield Path(part.ann_dir, info["ann"]["seg_map"])


def _picture_names(dataset: Any) -> list[str]:
    """Return the name of the picture of each image, in folders as the images are."""
    return png_names([info["filename"] for info in dataset.img_infos])


def _read_rgb(dataset: Any, index: int) -> np.ndarray:
    """Read image `index` of a dataset as (H, W, 3) uint8 RGB, of the size of its predictions."""
    part, inner = dataset.locate(index) if hasattr(dataset, "locate") else (dataset, index)
    image = read_color(Path(part.img_dir) / part.img_infos[inner]["filename"])
    side = getattr(part, "short_side", None)
    return (image if side is None else with_short_side(image, side))[..., ::-1]
