"""Recognize the files of a dataset again: hashes over names and sizes, taken in a second."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZES_IN_FINGERPRINT = 64


def add_files(digest: Any, folder: str | Path, names: Sequence[str]) -> None:
    """Feed a `hashlib` object all names, in their order, and the sizes of a few dozen files.

    Folders of crops carry such hashes: what is fed here must stay as it is.

    Args:
        digest: of `hashlib`.
        folder: where the files are; one that is missing counts as such.
        names: relative to `folder`.
    """
    digest.update("\n".join(names).encode())
    step = max(1, len(names) // SIZES_IN_FINGERPRINT)
    for name in names[::step]:
        path = Path(folder) / name
        digest.update(str(path.stat().st_size if path.is_file() else None).encode())


def folder_fingerprint(folder: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the folder, the number of its files and a hash of their sorted names and sizes."""
    digest = hashlib.sha256()
    add_files(digest, folder, sorted(names))
    return {"folder": str(folder), "files": len(names), "sha256": digest.hexdigest()}


def dataset_fingerprint(dataset: Any) -> dict[str, Any]:
    """Return the fingerprints of images, labels and depth maps, where a dataset has them.

    Args:
        dataset: of one domain, with the attributes of `CustomDataset`; else nothing is returned.
    """
    infos = getattr(dataset, "img_infos", None)
    if infos is None:
        return {}
    images = [info["filename"] for info in infos]
    parts = {"images": folder_fingerprint(dataset.img_dir, images)}
    if dataset.ann_dir is not None:
        labels = [info["ann"]["seg_map"] for info in infos]
        parts["labels"] = folder_fingerprint(dataset.ann_dir, labels)
    if dataset.dep_dir is not None:
        depth = [dataset.depth_name(name) for name in images]
        parts["depth"] = folder_fingerprint(dataset.dep_dir, depth)
    return parts
