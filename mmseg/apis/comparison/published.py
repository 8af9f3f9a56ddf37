"""Published numbers, and whether a run computes what they were published for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmseg.apis.series.report import TITLES
from mmseg.config import find_config, load_config
from mmseg.config.language.listing import differences
from mmseg.datasets.labels import CLASSES
from mmseg.evaluation.report import SYNTHIA_16
from mmseg.system.shipped import root

FILE = "configs/published.json"
# The sections that decide what is computed, with what they say but which decides nothing.
SECTIONS = ("model", "test_cfg", "uda", "load_from", "runner")
SECTIONS += ("optimizer", "optimizer_config", "lr_config", "fp16", "amp")
PLACES = ("data_root",)
NAMED_FILES = ("pretrained", "matrix_path", "croped_images_path", "croped_labels_path", "dep_dir")


@dataclass(frozen=True)
class Published:
    """What was published for a config of this program.

    Attributes:
        config: its path without suffix, relative to the program.
        paper: which published it.
        protocol: in words: which iteration, over how many seeds.
        means: 'mIoU', or 'mIoU16' and 'mIoU13', in percent.
        iou: of each class, in percent; empty where only means are published.
        seeds: the mIoU of each seed, as far as they are known.
    """

    config: str
    paper: str
    protocol: str
    means: Mapping[str, float]
    iou: Mapping[str, float]
    seeds: tuple[float, ...] = ()

    @property
    def iteration(self) -> str:
        """Which evaluation of a run counts: 'last' or 'best'."""
        return next(title for title in TITLES if self.protocol.startswith(title))

    @property
    def runs(self) -> int | None:
        """Over how many seeds the numbers are means, None if nothing says it."""
        found = re.search(r"mean of (\d+) seeds", self.protocol)
        return int(found[1]) if found else None

    @property
    def main(self) -> tuple[str, float]:
        """The name and the value of the number that a method is known by."""
        return next(iter(self.means.items()))


def published_numbers() -> dict[str, Published]:
    """Return what is published, by config."""
    return {config: _read(config, entry) for config, entry in _entries().items()}


def published_for(config: str | Path) -> Published | None:
    """Return what is published for the config at a path, if it is one of the program's own."""
    name, entry = _entry_of(find_config(config))
    return None if entry is None else _read(name, entry)


def reported_memory(config: Path) -> tuple[float, str] | None:
    """Return how much GPU memory a config takes in GB, and who says so, if anybody has."""
    memory = (_entry_of(config)[1] or {}).get("memory")
    return memory and (memory["gb"], memory["source"])


def published_like(values: Mapping[str, Any], processes: int = 1) -> Published | None:
    """Return what is published for a config that computes the same as one of a run."""
    known = published_numbers().values()
    return next((one for one in known if not changes(values, one, processes)), None)


def changes(values: Mapping[str, Any], published: Published, processes: int = 1) -> list[str]:
    """Return the lines (`- published`, `+ run's`) of what a run computes in another way.

    Places of files do not count, nor how the log is written. `processes` of the run share a batch.
    """
    cfg = _load(root() / published.config)
    usual = _computing(cfg, published, cfg.get("n_gpus") or 1)
    own = _computing(values, published, processes)
    return list(differences(usual, own))


def _entries() -> dict[str, Any]:
    return json.loads((root() / FILE).read_text(encoding="utf-8"))


def _entry_of(config: Path) -> tuple[str, Mapping[str, Any] | None]:
    """Return the name and the entry of a config; none of one that is not the program's own."""
    file, place = config.resolve().with_suffix(""), root().resolve()
    name = file.relative_to(place).as_posix() if file.is_relative_to(place) else ""
    return name, _entries().get(name)


@cache
def _load(path: Path) -> Any:
    return load_config(path)


def _read(config: str, entry: Mapping[str, Any]) -> Published:
    means = {key: value for key, value in entry.items() if key.startswith("mIoU")}
    classes = [CLASSES[c] for c in SYNTHIA_16] if "mIoU16" in means else CLASSES
    iou = dict(zip(classes, entry["IoU"], strict=True)) if "IoU" in entry else {}
    seeds = tuple(entry.get("seeds", ()))
    return Published(config, entry["paper"], entry["protocol"], means, iou, seeds)


def _computing(cfg: Mapping[str, Any], published: Published, processes: int = 1) -> dict[str, Any]:
    """Return what decides the numbers of a run: how it trains, and what it is evaluated on."""
    data = cfg.get("data") or {}
    values = {key: cfg.get(key) for key in SECTIONS}
    values["data"] = {key: data.get(key) for key in ("train", "val")}
    values["images per step"] = data.get("samples_per_gpu", 1) * processes
    if published.iteration == "best":  # of more evaluations, the best is higher
        values["evaluation"] = {"interval": (cfg.get("evaluation") or {}).get("interval")}
    return _without_places(values)


def _without_places(value: Any, name: str = "") -> Any:
    """Return nested values as plain ones, without the folders of files."""
    if isinstance(value, Mapping):
        return {k: _without_places(v, k) for k, v in value.items() if k not in PLACES}
    if isinstance(value, list | tuple):
        return [_without_places(item) for item in value]
    is_file = name in NAMED_FILES and isinstance(value, str)
    return Path(value).name if is_file else value
