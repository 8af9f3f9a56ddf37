"""Label images of one's own with a trained network, and write what was asked for."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmseg.apis.predicting.inputs import Input
from mmseg.apis.predicting.segmenter import Segmentation, Segmenter
from mmseg.datasets.image_files import files_below, read_color, read_label, write_label
from mmseg.datasets.pairing import find_endings
from mmseg.engine.evaluator import write_results
from mmseg.evaluation.confusion import ConfusionMatrix
from mmseg.evaluation.metrics import class_metrics
from mmseg.evaluation.report import metric_tables, result_record
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, require_writable
from mmseg.system.outputs import check_replaced, png_names
from mmseg.visualization.palettes import save_picture


def write_ids(file: Path, found: Segmentation) -> None:
    """Write the class of each pixel as a gray PNG."""
    write_label(file, found.ids)


def write_npz(file: Path, found: Segmentation) -> None:
    """Write `ids` (H, W) uint8, `probability` (C, H, W) float16 and the names `classes`."""
    content = io.BytesIO()
    probability = found.probability.astype(np.float16)
    np.savez_compressed(content, ids=found.ids, probability=probability, classes=found.classes)
    with atomic_write(file.with_suffix(".npz")) as stream:
        stream.write(content.getvalue())


WRITERS: dict[str, Callable[[Path, Segmentation], None]] = {
    "ids": write_ids,
    "color": lambda file, found: save_picture(file, found.colors),
    "overlay": lambda file, found: save_picture(file, found.overlay()),
    "probability": lambda file, found: write_label(file, np.rint(255 * found.confidence)),
    "npz": write_npz,
}


@dataclass
class Predicted:
    """What became of the images: how many are labeled, and why others are not."""

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    record: dict[str, Any] | None = None  # the metrics, if there were labels
    tables: Sequence[str] = ()


class Outputs:
    """Writes the results of images to `OUT/<kind>/<name>.png`.

    `ConfigError` if a file would replace an image; `OSError` if none can be written.
    """

    def __init__(self, out: Path, kinds: Sequence[str], inputs: Sequence[Input]) -> None:
        self.out, self.kinds = out, kinds
        names = png_names([one.name for one in inputs])
        self.names = {one.file: name for one, name in zip(inputs, names, strict=True)}
        written = [self.file(kind, one) for kind in kinds for one in inputs]
        check_replaced(written, (one.file for one in inputs), "outputs apart from the images")
        require_writable(out)

    def file(self, kind: str, image: Input) -> Path:
        """Return where one kind of output of an image goes."""
        file = self.out / kind / self.names[image.file]
        return file.with_suffix(".npz") if kind == "npz" else file

    def write(self, image: Input, found: Segmentation) -> None:
        """Write all kinds of outputs of an image."""
        for kind in self.kinds:
            file = self.file(kind, image)
            file.parent.mkdir(parents=True, exist_ok=True)
            WRITERS[kind](file, found)


class Labels:
    """The labels of some images, which are compared with the predictions.

    Args:
        folder: of PNGs of train ids, named like the images, up to how all names end.
        images: to which they belong.
        classes: names.
    """

    def __init__(self, folder: Path, images: Sequence[Input], classes: Sequence[str]) -> None:
        names = files_below(folder)
        endings = find_endings([image.name for image in images], names)
        if endings is None:
            raise ConfigError(
                f"expected labels in '{folder}' with names like those of the images, got none that "
                "fit. Give the folder that has the same folders inside as the images."
            )
        known = {name.removesuffix(endings[1]): name for name in names if name.endswith(endings[1])}
        stems = {image.file: image.name.removesuffix(endings[0]) for image in images}
        self.files = {f: folder / known[stem] for f, stem in stems.items() if stem in known}
        self.classes, self.matrix = classes, ConfusionMatrix(len(classes))

    def compare(self, image: Input, found: Segmentation) -> None:
        """Count the pixels of an image, if it has a label."""
        if image.file not in self.files:
            return
        label = read_label(self.files[image.file])
        if (label[label != self.matrix.ignore_index] >= len(self.classes)).any():
            raise ConfigError(
                f"expected train ids below {len(self.classes)} or 255 in the label "
                f"'{self.files[image.file]}', got others. Convert the labels first, or evaluate "
                "the dataset with tools/test.py."
            )
        self.matrix.update(found.ids, label)


def predict_images(
    segmenter: Segmenter, images: Sequence[Input], outputs: Outputs, labels: Labels | None = None
) -> Predicted:
    """Label images one after the other; the next one is read meanwhile.

    An image that cannot be read does not stop the others.
    """
    result = Predicted()
    for image, pixels in tqdm(_read_ahead(images), total=len(images), desc="Images", unit="image"):
        if isinstance(pixels, Exception):
            result.failed[str(image.file)] = str(pixels)
            continue
        found = segmenter.label(pixels)
        outputs.write(image, found)
        if labels is not None:
            labels.compare(image, found)
        result.done += 1
    if labels is not None and labels.matrix.images:
        values = class_metrics(labels.matrix, ["mIoU"])
        result.tables = metric_tables(values, labels.classes)
        result.record = result_record(values, labels.classes, labels.matrix.images)
        write_results(outputs.out, result.record)
    return result


def _read_ahead(images: Iterable[Input]) -> Iterator[tuple[Input, np.ndarray | Exception]]:
    """Yield each image with its pixels, or with the reason why it cannot be read."""
    with ThreadPoolExecutor(1) as pool:
        coming = None
        for image in images:
            following = image, pool.submit(_pixels, image)
            if coming is not None:
                yield coming[0], coming[1].result()
            coming = following
        if coming is not None:
            yield coming[0], coming[1].result()


def _pixels(image: Input) -> np.ndarray | Exception:
    try:
        return read_color(image.file)
    except (OSError, ValueError) as error:
        return error
