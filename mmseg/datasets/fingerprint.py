"""Recognize the files of a dataset by hashes of their names and sizes, within a second."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg.system.archives import file_size

SIZES_IN_FINGERPRINT = 64


def add_files(digest: Any, folder: str | Path, names: Sequence[str]) -> None:
    """Feed a `hashlib` digest the names, in their order, and the sizes of a few dozen files.

    Existing folders of crops carry such hashes, so what is fed here must never change.
    """
    # Where names are not in UTF-8, Python escapes bytes; these are the same on every system.
    digest.update("\n".join(names).encode(errors="surrogateescape"))
    step = max(1, len(names) // SIZES_IN_FINGERPRINT)
    for name in names[::step]:
        digest.update(str(file_size(Path(folder) / name)).encode())


def folder_fingerprint(folder: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the folder, the number of files and a hash of their sorted names and sizes."""
    digest = hashlib.sha256()
    add_files(digest, folder, sorted(names))
    return {"folder": str(folder), "files": len(names), "sha256": digest.hexdigest()}


def dataset_fingerprint(dataset: Any) -> dict[str, Any]:
    """Return the fingerprints of the images, labels and depth maps that a `CustomDataset` has.

    Other datasets have none.
    """
    if hasattr(dataset, "parts"):
        pairs = zip(dataset.names, dataset.parts, strict=True)
        return {name: dataset_fingerprint(part) for name, part in pairs}
    infos = getattr(dataset, "img_infos", None)
    if infos is None:
        return {}
    images = [info["filename"] for info in infos]
    parts = {
        "images": (dataset.img_dir, images),
        "labels": (dataset.ann_dir, [info["ann"]["seg_map"] for info in infos]),
        "depth": (dataset.dep_dir, map(dataset.depth_name, images)),
    }
    return {
        part: folder_fingerprint(folder, list(names))
        for part, (folder, names) in parts.items()
        if folder is not None
    }
