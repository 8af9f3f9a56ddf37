"""What the folders of a dataset hold: told by their names, or by what their pictures look like."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmseg.datasets.image_files import picture_mode, read_unchanged

# Words in the names of folders.
ROLES = {
    "depth": {"depth", "depths", "disparity", "disparities", "disp", "dep"},
    "labels": {
        "label", "labels", "mask", "masks", "gt", "gtfine", "ann", "anns", "annot", "annotation",
        "annotations", "seg", "segmentation", "segmentations", "segmentationclass", "semantic",
        "semantics", "groundtruth",
    },
    "images": {
        "image", "images", "img", "imgs", "rgb", "leftimg8bit", "jpegimages", "picture",
        "pictures", "photo", "photos", "frames",
    },
}  # fmt: skip
# Parts of a dataset: what a folder is looked for, and the words for it, the best first.
PARTS = {
    "train": ({"train", "training"},),
    "val": ({"val", "valid", "validation"}, {"test", "testing"}),
}
SPLITS = frozenset().union(*(words for ways in PARTS.values() for words in ways))
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
FEW_COLORS = 64  # a drawing has fewer, a photo far more
LOOKED_AT = 3


def role_of(name: str) -> str | None:
    """Return what the folders of a picture say that it is: the first that says something counts.

    >>> role_of("street/rgb_anon/fog/1.png"), role_of("gtFine/train/1.png"), role_of("a/1.png")
    ('images', 'labels', None)
    """
    return next((role for part in name.split("/")[:-1] if (role := _role(part))), None)


def _words(part: str) -> set[str]:
    spaced = "".join(letter if letter.isalnum() else " " for letter in part.lower())
    return {*spaced.split(), spaced.replace(" ", "")}


def _role(part: str) -> str | None:
    return next((role for role, words in ROLES.items() if words & _words(part)), None)


def named(names: Iterable[str], role: str, part: str) -> list[str]:
    """Return the folders that are called as a role, the fullest first, with those of `part`."""
    found: Counter[str] = Counter()
    for name in names:
        folders = name.split("/")[:-1]
        start = next((i for i, one in enumerate(folders) if _role(one)), None)
        if start is None or _role(folders[start]) != role:
            continue
        for end in range(start + 1, len(folders) + 1):
            own = folders[end - 1]
            if end > start + 1 and not (_role(own) == role or own.lower() in SPLITS):
                break
            found["/".join(folders[:end])] += 1
    return of_part([folder for folder, _ in found.most_common()], part)


def of_part(folders: Sequence[str], part: str) -> list[str]:
    """Return the folders of a part of the dataset, or all if none is called so.

    >>> of_part(["images", "images/train", "images/val"], "train")
    ['images/train']
    """
    for words in PARTS[part]:
        if own := [f for f in folders if words & set(f.lower().split("/"))]:
            return own
    return list(folders)


def by_content(root: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the folders whose pictures look like labels, and the others."""
    if not names:
        return [], []
    parents = [name.split("/")[:-1] for name in names]
    common = parents[0]
    for parent in parents:
        while parent[: len(common)] != common:
            common = common[:-1]
    groups: dict[str, list[str]] = {}
    for name, parent in zip(names, parents, strict=True):
        groups.setdefault("/".join(parent[: len(common) + 1]), []).append(name)
    drawn = [folder for folder, own in groups.items() if are_labels(root, own)]
    others = [folder for folder in groups if folder not in drawn]
    are_parts = any(SPLITS & set(folder.lower().split("/")) for folder in others)
    if len(others) > 1 and not drawn and not are_parts:  # towns, for example
        others = ["/".join(common)]
    return drawn, others


def are_labels(root: str, names: Sequence[str]) -> bool:
    """Tell whether pictures look like labels: lossless, and with few values."""
    for name in names[:: -(-len(names) // LOOKED_AT)]:
        path = Path(root, name)
        if path.suffix.lower() not in LOSSLESS:
            return False
        if picture_mode(path) in ("P", "1"):
            continue
        pixels = read_unchanged(path)
        values = np.unique(pixels.reshape(-1, *pixels.shape[2:]), axis=0)
        if len(values) > FEW_COLORS:
            return False
    return True
