"""Look at a few depth maps of a folder, whether they are what the method expects.

Legend: H×W pixels. Maps of another kind are read without an error, and training then compares
nonsense. What can be seen at once is warned about: near and far the wrong way round, no depth at
all, 16-bit values of another meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.depth.record import record_warnings
from mmseg.datasets.image_files import read_unchanged

MAX_SAMPLED = 8
# A third of a map counts as nearer than another one if it is brighter by this share of the map's
# own range. In drawn and real streets the bottom is brighter than the top by a quarter and more.
NEARER_SHARE = 0.1
PREVIEW = "tools/make_depth.py --preview shows image, depth and bins side by side"
CONVERT = (
    "tools/make_depth.py --from-disparity converts maps of another kind, with --quantity metric "
    "those of distances"
)


@dataclass(frozen=True)
class _Look:
    """What one map looks like; `problem` says why it could not be looked at."""

    file: Path
    problem: str | None = None
    is_colored: bool = False
    is_constant: bool = False
    is_16_bit: bool = False
    is_small: bool = False  # 16 bits that hold no more than 8
    is_inverted: bool = False


def folder_warnings(files: Sequence[Path], folder: str | Path) -> list[str]:
    """Say what looks wrong in a folder of depth maps; at most 8 of them are read.

    Args:
        files: paths of the maps.
        folder: where they are, for the sentences.

    Returns:
        A sentence for each kind of oddity, none if all is well.
    """
    looks = [_look(files[index]) for index in sampled(len(files))]
    seen = [look for look in looks if look.problem is None and not look.is_colored]
    of_16_bit = [look for look in seen if look.is_16_bit]
    found = [
        *_unreadable(looks, folder),
        _sentence(
            looks,
            "is_colored",
            f"in '{folder}' are colored pictures; the method reads one gray channel. {PREVIEW}.",
        ),
        _sentence(
            looks,
            "is_constant",
            f"in '{folder}' hold one value everywhere, which tells nothing about depth. Look at "
            f"them and make them again: {PREVIEW}.",
        ),
        _sentence(
            looks,
            "is_16_bit",
            f"in '{folder}' are 16-bit files. Their values are divided by 257, which is right only "
            "for relative inverse depth scaled to 0...65535, not for disparity or distance in "
            f"other units; {CONVERT}, and {PREVIEW}.",
        ),
        _sentence(
            of_16_bit,
            "is_small",
            f"of 16 bits in '{folder}' hold values up to 255 only: divided by 257, all of it is "
            f"far away. Do store them as 8-bit files ({CONVERT}).",
        ),
    ]
    inverted = [look for look in seen if look.is_inverted]
    if 2 * len(inverted) > sum(not look.is_constant for look in seen):
        found.append(
            f"The depth maps in '{folder}' look inverted: in {len(inverted)} of {len(looks)} "
            f"sampled ones (such as '{inverted[0].file}') the top is brighter than the bottom. "
            "Near must be bright, and the bottom of a street scene is near. Look at them "
            f"({PREVIEW}) and convert or make them again ({CONVERT})."
        )
    return [sentence for sentence in found if sentence]


def dataset_warnings(dataset: Any) -> list[str]:
    """Say what looks wrong in the depth maps of a training dataset, of both its domains.

    Args:
        dataset: a `UDADataset`, or the dataset of one domain.
    """
    domains = [getattr(dataset, name, None) for name in ("source", "target")]
    if None in domains:
        return _domain_warnings(dataset)
    source, target = domains
    folders = [getattr(domain, "dep_dir", None) for domain in domains]
    return [
        *record_warnings(*folders),
        *_domain_warnings(source),
        *(_domain_warnings(target) if folders[0] != folders[1] else []),
    ]


def sampled(count: int) -> list[int]:
    """Return up to 8 indices below `count`, evenly spread from the first to the last.

    >>> sampled(3), sampled(50)
    ([0, 1, 2], [0, 7, 14, 21, 28, 35, 42, 49])
    """
    number = min(count, MAX_SAMPLED)
    return [index * (count - 1) // max(number - 1, 1) for index in range(number)]


def _domain_warnings(dataset: Any) -> list[str]:
    folder, infos = (getattr(dataset, name, None) for name in ("dep_dir", "img_infos"))
    if folder is None or infos is None:
        return []
    names = [dataset.depth_name(infos[index]["filename"]) for index in sampled(len(infos))]
    return folder_warnings([Path(folder, name) for name in names], folder)


def _look(file: Path) -> _Look:
    try:
        stored = read_unchanged(file)  # (H, W) or (H, W, 3|4)
    except (OSError, ValueError) as error:
        return _Look(file, problem=str(error))
    if stored.ndim != 2:
        return _Look(file, is_colored=True)
    low, high = float(stored.min()), float(stored.max())
    is_16_bit = stored.dtype == np.uint16
    third = max(1, len(stored) // 3)
    ahead = float(stored[:third].mean() - stored[-third:].mean())
    return _Look(
        file,
        is_constant=low == high,
        is_16_bit=is_16_bit,
        is_small=is_16_bit and low < high <= 255,
        is_inverted=low < high and ahead > NEARER_SHARE * (high - low),
    )


def _unreadable(looks: Sequence[_Look], folder: str | Path) -> list[str]:
    problems = [look.problem for look in looks if look.problem is not None]
    if not problems:
        return []
    count = f"{len(problems)} of {len(looks)}"
    return [f"{count} sampled depth maps in '{folder}' cannot be read, the first: {problems[0]}"]


def _sentence(looks: Sequence[_Look], claim: str, rest: str) -> str:
    """Say of how many maps a claim is true; nothing if of none."""
    matching = [look for look in looks if getattr(look, claim)]
    if not matching:
        return ""
    example = f"(such as '{matching[0].file}')"
    return f"{len(matching)} of {len(looks)} sampled depth maps {example} {rest}"
