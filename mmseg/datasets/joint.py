"""Several datasets as one: sources or targets that are trained on together, or validation sets.

In a config, a list of sections stands for one: `source=[dict(type='GTADataset', …), …]`.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mmseg.config.checking import check_section, each_mapping
from mmseg.config.registry import DATASETS
from mmseg.config.values import Positive, Section, Text
from mmseg.datasets.custom import CustomDataset, Sample
from mmseg.datasets.sampler import Sampler
from mmseg.evaluation import evaluate_dataset
from mmseg.system.errors import ConfigError

EXTRAS = ("name", "weight")  # keys of a section in a list, beside those of its type


def plain(part: Any) -> Any:
    """Return the section of a dataset without what only a list of sections knows."""
    if not isinstance(part, Mapping) or not any(key in part for key in EXTRAS):
        return part
    part = copy.copy(part)
    for key in EXTRAS:
        part.pop(key, None)  # pyright: ignore[reportAttributeAccessIssue]
    return part


def _check_part(part: Section) -> None:
    DATASETS.check(plain(part))
    check_section({k: part[k] for k in EXTRAS if k in part}, ListedKeys, "dataset of a list")


@dataclass(frozen=True)
class ListedKeys:
    """What a section in a list may say beside the keys of its type."""

    name: Text | None = None  # of its results
    weight: Positive | None = None  # how often it is drawn from, relatively to the others


Group = tuple[str | None, str | None]  # dataset, if there are several, and condition, such as rain
Part = Annotated[Section, each_mapping(_check_part)] | CustomDataset


@DATASETS.register()
class JointDataset:
    """The images of several datasets, one after the other.

    Args:
        datasets: sections of two or more; all have the same classes (see `class_map`). Each may say
            a `name`, by default that of its type, and a `weight`: how often it is drawn from,
            relatively to the others; by default, as often as it has images.
        test_mode: as for `CustomDataset`.
    """

    def __init__(
        self,
        datasets: Annotated[Sequence[Part], Field(min_length=1)],
        test_mode: bool = False,
    ) -> None:
        self.parts = [
            DATASETS.build(plain(part), test_mode=test_mode or None)
            if isinstance(part, Mapping)
            else part
            for part in datasets
        ]
        weights, names = (_listed(datasets, key) for key in ("weight", "name"))
        self.weights = None if weights is None else np.array(weights, float) / sum(weights)
        self.names = list(names or _names(self.parts))
        first = self.parts[0]
        self.CLASSES, self.PALETTE = first.CLASSES, first.PALETTE
        self.ignore_index, self.UNLABELED_CLASSES = first.ignore_index, _unlabeled(self.parts)
        self._check()
        self.starts = [0, *accumulate(map(len, self.parts))]
        self.img_infos = [
            {**info, "filename": f"{name}/{info['filename']}"}
            for name, part in zip(self.names, self.parts, strict=True)
            for info in part.img_infos
        ]

    def _check(self) -> None:
        """Raise `ConfigError` for datasets that cannot stand beside each other."""
        for part in self.parts[1:]:
            if part.CLASSES and tuple(part.CLASSES) != tuple(self.CLASSES):
                raise ConfigError(
                    f"expected the classes of the first dataset, {type(self.parts[0]).__name__}, "
                    f"for all of a list, got others for the {type(part).__name__} of "
                    f"'{part.img_dir}'. Map them with class_map=dict(to=…, names=…)."
                )
        for key in ("crop_pseudo_margins", "dep_dir"):
            if len({getattr(part, key, None) is None for part in self.parts}) > 1:
                raise ConfigError(
                    f"expected {key} for all datasets of a list or for none, got it for some. Set "
                    "it for all, or leave it out."
                )
        if len(set(self.names)) < len(self.names):
            raise ConfigError(
                f"expected a different name for each dataset of a list, got {self.names}. Set "
                "name='…' in their sections."
            )

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Sample:
        part, inner = self.locate(index)
        return part[inner]

    def locate(self, index: int) -> tuple[Any, int]:
        """Return the dataset of image `index`, and its index there."""
        number = self.number_of(index)
        return self.parts[number], index - self.starts[number]

    def number_of(self, index: int) -> int:
        """Return the number of the dataset of image `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}.")
        return int(np.searchsorted(self.starts, index, "right")) - 1

    def draw_index(self, rng: np.random.Generator) -> int:
        """Draw an image: its dataset by weight, if there are weights, then one of its images."""
        if self.weights is None:
            return int(rng.integers(len(self)))
        number = int(rng.choice(len(self.parts), p=self.weights))
        return self.starts[number] + int(rng.integers(len(self.parts[number])))

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return sample `index`; every random choice comes from `rng`."""
        return self.sampler(index)(rng)

    def sampler(self, index: int) -> Sampler:
        """Return what draws sample `index` again and again, reading its files once."""
        part, inner = self.locate(index)
        return part.sampler(inner)

    # Evaluation

    def gt_label(self, index: int) -> np.ndarray:
        """Return the label of image `index`, (H, W) uint8 train ids."""
        part, inner = self.locate(index)
        return part.gt_label(inner)

    def evaluate(
        self,
        results: Iterable[np.ndarray],
        metric: str | Sequence[str] = "mIoU",
        logger: Any = None,
    ) -> dict[str, float]:
        """Compare label maps (H, W), in the order of the images, with the labels."""
        labels = (self.gt_label(i) for i in range(len(self)))
        return evaluate_dataset(results, labels, self.CLASSES, metric, logger, self.ignore_index)

    def format_results(
        self,
        results: Iterable[np.ndarray],
        imgfile_prefix: str | Path,
        to_label_id: bool = True,
        indices: Iterable[int] | None = None,
    ) -> list[str]:
        """Write the label maps of each dataset into a folder of its own, called like it."""
        files = []
        for index, result in zip(indices or range(len(self)), results, strict=True):
            part, inner = self.locate(index)
            folder = Path(imgfile_prefix, self.names[self.number_of(index)])
            files += part.format_results([result], folder, to_label_id, [inner])
        return files

    def check_format(self, to_label_id: bool = True) -> None:
        """Raise `ValueError` if `format_results` cannot translate the classes to label ids."""
        for part in self.parts:
            part.check_format(to_label_id)

    @property
    def server_names(self) -> list[str]:
        """Names of the files for test servers."""
        pairs = zip(self.names, self.parts, strict=True)
        return [f"{name}/{file}" for name, part in pairs for file in part.server_names]

    def require_classes(self) -> None:
        """Raise `ValueError` if nothing names the classes."""
        for part in self.parts:
            part.require_classes()

    def require_labeled(self) -> None:
        """Raise `ValueError` if the labels of a dataset have no pixel of any class."""
        for part in self.parts:
            part.require_labeled()

    @property
    def is_proven(self) -> bool:
        """Whether all labels are known to show a class, or need not."""
        return all(part.is_proven for part in self.parts)

    @is_proven.setter
    def is_proven(self, value: bool) -> None:
        for part in self.parts:
            part.is_proven = value


def parts_of(dataset: Any) -> list[Any]:
    """Return the datasets of a joint one, or the dataset itself."""
    return list(getattr(dataset, "parts", [dataset]))


def group_of(dataset: Any, index: int) -> Group:
    """Return which results image `index` of a dataset belongs to."""
    part, inner = dataset.locate(index) if hasattr(dataset, "locate") else (dataset, index)
    find = getattr(part, "condition_of", None)
    condition = find and find(part.img_infos[inner]["filename"])
    return dataset.names[dataset.number_of(index)] if part is not dataset else None, condition


def groups_of(dataset: Any) -> list[Group]:
    """Return all groups, those of the first dataset first, in one order on every process."""
    found = dict.fromkeys(group_of(dataset, index) for index in range(len(dataset)))
    places = {name: place for place, (name, _) in reversed(list(enumerate(found)))}
    return sorted(found, key=lambda group: (places[group[0]], str(group[1])))


def joined(section: Any) -> Any:
    """Return the section that stands for a list of sections; any other value as it is."""
    if not isinstance(section, list | tuple):
        return section
    return {"type": "JointDataset", "datasets": section}


def listed(section: Any) -> list[Any]:
    """Return the sections of datasets in a section: those of a list, or itself, if it is one."""
    if isinstance(section, list | tuple):
        return [plain(part) for part in section]
    if isinstance(section, Mapping) and section.get("type") == "JointDataset":
        return [plain(part) for part in section["datasets"]]
    return [section] if section else []


def _listed(parts: Sequence[Any], key: str) -> list[Any] | None:
    """Return what the sections of a list say; None if they do not."""
    values = [part.get(key) if isinstance(part, Mapping) else None for part in parts]
    if all(value is None for value in values):
        return None
    if None in values:
        raise ConfigError(
            f"expected a {key} for each of the {len(values)} datasets of a list or for none, got "
            "it for some. Add what is missing."
        )
    return values


def _names(parts: Sequence[Any]) -> list[str]:
    """Return a name for each dataset: its type, numbered if one comes twice."""
    short = [type(part).__name__.removesuffix("Dataset").lower() for part in parts]
    if len(set(short)) == len(short):
        return short
    return [f"{name}_{number}" for number, name in enumerate(short, 1)]


def _unlabeled(parts: Sequence[Any]) -> tuple[int, ...]:
    """Return the classes that none of the datasets annotates."""
    missing = [set(getattr(part, "UNLABELED_CLASSES", ())) for part in parts]
    return tuple(sorted(set.intersection(*missing)))
