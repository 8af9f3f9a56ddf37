"""Look at a few depth maps of a folder and warn if they are not what the method expects.

Legend: H×W pixels. Maps of another kind are read without an error, and training then compares
nonsense. Some mistakes are visible at once: near and far swapped, no depth at all, 16-bit values
with another meaning.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.depth.record import record_warnings
from mmseg.datasets.image_files import read_unchanged

MAX_SAMPLED = 8
# A third of a map counts as nearer than another if it is brighter by this share of the map's own
# range. In drawn and real streets the bottom is brighter than the top by a quarter and more.
NEARER_SHARE = 0.1
INVERTED = "inverted"
PREVIEW = "tools/make_depth.py --preview shows image, depth and bins side by side"
CONVERT = (
    "tools/make_depth.py --from-disparity converts maps of another kind, with --quantity metric "
    "those of distances"
)
# What may be odd about a map -> what to say after "2 of 8 sampled depth maps (such as …) in '…' ".
ODDITIES = {
    "colored": f"are color pictures; the method reads one gray channel. {PREVIEW}.",
    "constant": "hold one value everywhere, which says nothing about depth. Look at them and make "
    f"them again: {PREVIEW}.",
    "0…1": "hold 0 and 1 only, as of values 0...1 that were not scaled: everything is far away. "
    f"Make them again, or scale the values ({CONVERT}).",
    "16-bit": "are 16-bit files. Their values are divided by 257, which is right only for relative "
    "inverse depth scaled to 0...65535, not for disparity or distance in other units; "
    f"{CONVERT}, and {PREVIEW}.",
    "16-bit, small": "are 16-bit files with values up to 255 only: divided by 257, everything is "
    f"far away. Store them as 8-bit files ({CONVERT}).",
}


def folder_warnings(files: Sequence[Path], folder: str | Path) -> list[str]:
    """Return a sentence for each kind of oddity in the maps of a folder; at most 8 are read."""
    files = [files[index] for index in sampled(len(files))]
    looks: dict[Path, set[str]] = {}
    problems = []
    for file in files:
        try:
            looks[file] = look_at(read_unchanged(file))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    whole = f"{len(files)} sampled"
    found = []
    if problems:
        count = f"{len(problems)} of {whole} depth maps"
        found.append(f"{count} in '{folder}' cannot be read, the first: {problems[0]}")
    return found + [sentence for _, _, sentence in odd_looks(looks, folder, whole)]


def odd_looks(
    looks: Mapping[Path, set[str]], folder: str | Path, whole: str
) -> Iterator[tuple[str, list[Path], str]]:
    """Yield each oddity of maps of a folder, the maps that have it, and a sentence about them.

    Args:
        looks: what `look_at` says about each map.
        folder: where the maps lie.
        whole: how many maps were looked at, such as "8 sampled".
    """
    for oddity, sentence in ODDITIES.items():
        if matching := [file for file, look in looks.items() if oddity in look]:
            count = f"{len(matching)} of {whole} depth maps (such as '{matching[0]}')"
            yield oddity, matching, f"{count} in '{folder}' {sentence}"
    inverted = [file for file, look in looks.items() if INVERTED in look]
    if 2 * len(inverted) > sum(not look & {"colored", "constant"} for look in looks.values()):
        yield (
            INVERTED,
            inverted,
            f"The depth maps in '{folder}' look inverted: in {len(inverted)} of {whole} ones (such "
            f"as '{inverted[0]}') the top is brighter than the bottom. Near must be bright, and "
            f"the bottom of a street scene is near. Look at them ({PREVIEW}) and convert or make "
            f"them again ({CONVERT}).",
        )


def dataset_warnings(dataset: Any) -> list[str]:
    """Say what looks wrong in the depth maps of a `UDADataset`, or of a dataset of one domain."""
    source, target = (getattr(dataset, name, None) for name in ("source", "target"))
    if source is None or target is None:
        return _domain_warnings(dataset)
    parts = [*getattr(source, "parts", [source]), *getattr(target, "parts", [target])]
    part_of = {getattr(part, "dep_dir", None): part for part in reversed(parts)}
    folders = [getattr(part, "dep_dir", None) for part in parts]
    found = [line for other in folders[1:] for line in record_warnings(folders[0], other)]
    for folder in dict.fromkeys(folders):
        found += _domain_warnings(part_of[folder])
    return found


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
    names = [infos[index]["filename"] for index in sampled(len(infos))]
    return folder_warnings([Path(folder, dataset.depth_name(name)) for name in names], folder)


def look_at(stored: np.ndarray) -> set[str]:
    """Return what is odd about a map (H, W) or (H, W, 3|4): keys of `ODDITIES` or `INVERTED`."""
    if stored.ndim != 2:
        return {"colored"}
    low, high = float(stored.min()), float(stored.max())
    third = max(1, len(stored) // 3)
    ahead = float(stored[:third].mean() - stored[-third:].mean())
    is_16_bit = stored.dtype == np.uint16
    looks = {
        "constant": low == high,
        "0…1": low < high == 1,
        "16-bit": is_16_bit,
        "16-bit, small": is_16_bit and low < high <= 255,
        INVERTED: low < high and ahead > NEARER_SHARE * (high - low),
    }
    return {name for name, is_so in looks.items() if is_so}
