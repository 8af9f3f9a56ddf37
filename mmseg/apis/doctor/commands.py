"""Which command brings what a config reads and what is not there."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from mmseg.apis.missing_parts import Part
from mmseg.config.registry import DATASETS
from mmseg.datasets.depth.bins import make_command
from mmseg.datasets.file_checks import convert_command
from mmseg.system.archives import place

DRAWN = "data/demo"  # scenes that this program draws itself
RAW = ("img_dir", "ann_dir")
WEIGHTS = ("pretrained", "load_from")  # how their keys end
CHANGES = " --cfg-options "


def command_for(part: Part, words: str) -> str | None:
    """Return the command that brings a part of a run; None if it has to be downloaded by hand.

    `words` are of `words_of`.
    """
    if part.key.endswith(WEIGHTS):
        return f"python tools/fetch_weights.py {words.partition(CHANGES)[0]}"
    if part.key.startswith("uda."):
        return f"python run_seg.py --config {words}"
    root = Path(part.root or part.path)
    is_drawn = root.is_relative_to(DRAWN)
    if is_drawn and (not root.is_dir() or part.key.endswith(RAW)):
        return f"python tools/make_demo_data.py --out {DRAWN}"
    kind = DATASETS.class_of(part.section)
    if part.key.endswith("rare_class_sampling"):
        return convert_command(kind.CONVERTER, part.root) if kind.CONVERTER else None
    if part.key.endswith("dep_dir"):
        images = place(part.root or "", part.section["img_dir"])
        layout = kind.DEPTH_LAYOUT if part.section.get("img_suffix") is None else None
        return make_command(images, part.path, layout)
    return None


def words_of(config: str, changes: Mapping[str, object]) -> str:
    """Return what names a config, with changed values, on the command line of other tools.

    >>> words_of("configs/a b", {"seed": 1})
    "'configs/a b' --cfg-options seed=1"
    """
    values = [f"{key}={value}" for key, value in changes.items()]
    return CHANGES.join(shlex.join(words) for words in ([config], values) if words)
