"""Images that are trained on and evaluated on, by the content of their files."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmseg.apis.data_check.findings import Finding, about_files
from mmseg.apis.data_check.scan import FEW, Scan
from mmseg.datasets.image_files import read_bytes
from mmseg.datasets.loader import Mapped, each_item
from mmseg.system.archives import file_size

Files = dict[int, list[Path]]  # by their size in bytes


def duplicates(scans: Mapping[str, Scan], workers: int) -> Iterator[Finding]:
    """Yield the images of `data.val` and `data.test` that are training images, too.

    Only files of equal size are read.
    """
    trained: Files = {}
    for scan in scans.values():
        if scan.part.is_trained_on:
            _add(trained, scan)
    for name, scan in scans.items():
        if scan.part.is_trained_on:
            continue
        own: Files = {}
        _add(own, scan)
        sizes = own.keys() & trained.keys()
        first = dict(_digests(trained, sizes, workers))
        twins = [(path, first[d]) for d, path in _digests(own, sizes, workers) if d in first]
        if twins:
            path, other = twins[0]
            sentence = (
                f"expected other images than those of training in '{scan.part.dataset.img_dir}', "
                f"got '{path}', which is '{other}'. What is measured on them says nothing: remove "
                "them from one of both."
            )
            files = [path for path, _ in twins]
            yield about_files(name, "image-in-train-and-val", sentence, files)


def _add(files: Files, scan: Scan) -> None:
    for index in range(len(scan.part.dataset)):
        path = scan.part.image_file(index)
        files.setdefault(file_size(path) or 0, []).append(path)


def _digests(files: Files, sizes: set[int], workers: int) -> Iterator[tuple[bytes, Path]]:
    """Yield the content's hash of each file of these sizes, with its path."""
    paths = [path for size in sorted(sizes) for path in files[size]]
    hashes = each_item(Mapped(_digest, paths), workers if len(paths) >= FEW else 0)
    yield from ((digest, path) for digest, path in zip(hashes, paths, strict=True) if digest)


def _digest(path: Path) -> bytes | None:
    """Return the hash of a file's content; None of a damaged one."""
    try:
        return hashlib.sha256(read_bytes(path, "an image file")).digest()
    except (OSError, ValueError):  # which the scan has told
        return None
