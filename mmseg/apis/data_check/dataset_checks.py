"""What is wrong with one dataset. A new check is a function and a line in `DATASET_CHECKS`."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from mmseg.apis.data_check.findings import Finding, about_files, findings_of
from mmseg.apis.data_check.scan import Scan
from mmseg.datasets.depth.inspection import INVERTED, odd_looks
from mmseg.datasets.image_files import files_below, images_below
from mmseg.datasets.image_lists import ImageList
from mmseg.datasets.pairing import SUFFIXES
from mmseg.system.archives import has_folder

MUCH_SMALLER = 2  # how many times a side of the crop is longer than that of the image
KIND_OF_LOOK = {
    "constant": "depth-constant",
    "0…1": "depth-0-to-1",
    "16-bit": "depth-16-bit",
    "16-bit, small": "depth-16-bit",
    INVERTED: "depth-inverted",
}


def of_single_files(scan: Scan) -> Iterator[Finding]:
    """Yield what was found in single files; that all labels are ignored is said once."""
    said = "label-all-ignored" if scan.labeled and not scan.pixels else None
    problems = (problem for problem in scan.problems if problem.kind != said)
    yield from findings_of(scan.part.name, problems)


def labels_without_images(scan: Scan) -> Iterator[Finding]:
    """Yield the labels that belong to no image of the folder, also if a file lists some only."""
    dataset, folder = scan.part.dataset, scan.part.dataset.ann_dir
    if not scan.part.needs_labels or folder is None or not has_folder(folder):
        return
    suffix = dataset.label_format.suffix
    images = (type(dataset).__name__, dataset.img_dir, None, dataset.img_suffix, suffix)
    wanted = {info["ann"]["seg_map"] for info in ImageList(*images).read()}
    if alone := sorted(set(files_below(folder, suffix)) - wanted):
        sentence = (
            f"expected an image in '{dataset.img_dir}' for every label, got none for '{alone[0]}'. "
            "Such labels are not used: add the images, or remove the labels."
        )
        files = [folder / name for name in alone]
        yield about_files(scan.part.name, "label-without-image", sentence, files)


def images_of_other_names(scan: Scan) -> Iterator[Finding]:
    """Yield the pictures among the images whose names end in another way, and so are not used."""
    dataset, folder = scan.part.dataset, scan.part.dataset.img_dir
    inside = (dataset.ann_dir, dataset.dep_dir)
    are_mixed = any(other is not None and other.is_relative_to(folder) for other in inside)
    if are_mixed or dataset.split is not None or dataset.part is not None:
        return
    taken, twins = images_below(folder, dataset.img_suffix)  # of twins, the reader says it
    pictures = [n for n in files_below(folder) if PurePosixPath(n).suffix.lower() in SUFFIXES]
    if others := sorted(set(pictures) - {*taken.values(), *twins}):
        sentence = (
            f"expected images '*{dataset.img_suffix}' alone in '{folder}', got '{others[0]}', too. "
            "Such files are not used: rename them, set img_suffix, or remove them."
        )
        files = [folder / name for name in others]
        yield about_files(scan.part.name, "images-left-out", sentence, files)


def labels_all_ignored(scan: Scan) -> Iterator[Finding]:
    """Yield that no label has a pixel of any class."""
    if scan.part.needs_labels and scan.labeled and not scan.pixels:
        files = [scan.part.label_file(index) for index in scan.labeled]
        sentence = (
            f"expected pixels of a class in '{scan.part.dataset.ann_dir}', got ignored pixels "
            f"alone in all {len(files)} labels. {scan.part.dataset.remedy('labels')}"
        )
        yield about_files(scan.part.name, "labels-all-ignored", sentence, files)


def small_images(scan: Scan) -> Iterator[Finding]:
    """Yield the images that the crop of training is much larger than."""
    crop, small = scan.part.crop, []
    for index, look in enumerate(scan.looks):
        size = look.size
        if crop and size and any(MUCH_SMALLER * a < b for a, b in zip(size, crop, strict=True)):
            small.append((scan.part.image_file(index), size))
    if crop and small:
        file, size = small[0]
        sentence = (
            f"expected images of about the size of the training samples, {crop[1]}x{crop[0]} "
            f"pixels, or larger, got {size[1]}x{size[0]} of '{file}'. They are enlarged or padded: "
            "choose a smaller crop_size, or use larger images."
        )
        files = [path for path, _ in small]
        yield about_files(scan.part.name, "image-smaller-than-crop", sentence, files)


def odd_depth(scan: Scan) -> Iterator[Finding]:
    """Yield what looks odd about the depth maps, which training reads all the same."""
    looks: dict[Path, set[str]] = {}
    for index, look in enumerate(scan.looks):
        path = scan.part.depth_file(index)
        if look.depth is not None and path is not None:
            looks[path] = look.depth
    for oddity, files, sentence in odd_looks(
        looks, scan.part.dataset.dep_dir or "", str(len(looks))
    ):
        yield about_files(scan.part.name, KIND_OF_LOOK[oddity], sentence, files)


DATASET_CHECKS: tuple[Callable[[Scan], Iterator[Finding]], ...] = (
    of_single_files,
    labels_without_images,
    images_of_other_names,
    labels_all_ignored,
    small_images,
    odd_depth,
)
