"""The datasets of a config, built so that what is wrong with their files does not end the check."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.apis.agreement import Size, sample_size
from mmseg.apis.data_check.findings import Finding
from mmseg.apis.dataset_sections import is_dataset
from mmseg.config.run_config import ConfigParts
from mmseg.config.values import Section
from mmseg.datasets import CustomDataset, build_dataset
from mmseg.datasets.depth.bins import make_command
from mmseg.datasets.joint import listed
from mmseg.datasets.pipelines.reading import LoadAnnotations
from mmseg.datasets.unlabeled import without_labels
from mmseg.models.builder import reads_depth
from mmseg.system.archives import has_folder
from mmseg.system.errors import ConfigError, is_for_user

SOURCE, TARGET, VAL, TEST = "data.train.source", "data.train.target", "data.val", "data.test"
SUPERVISED = "data.train"
NOT_DATA = ("pipeline", "dep_dir")  # keys that do not matter to an evaluation's files


@dataclass(frozen=True)
class Part:
    """A dataset of a config.

    Attributes:
        name: of its section, such as "data.train.source", or "data.val.1" in a list.
        role: the name without the number.
        dataset: built for tests, which need no labels; its `dep_dir` is that of training.
        reads_labels: whether a training or an evaluation reads them.
        crop: (rows, columns) of the training samples, if their pipeline fixes them.
    """

    name: str
    role: str
    dataset: CustomDataset
    reads_labels: bool
    crop: Size | None = None

    @property
    def is_trained_on(self) -> bool:
        """Whether it is a part of the training data."""
        return self.role.startswith(SUPERVISED)

    @property
    def needs_labels(self) -> bool:
        """Whether somebody learns from its labels, or is measured by them."""
        return self.reads_labels and self.role != TARGET

    def image_file(self, index: int) -> Path:
        """Return the path of image `index`."""
        return self.dataset.img_dir / self.dataset.img_infos[index]["filename"]

    def label_file(self, index: int) -> Path:
        """Return the path that the label of image `index` has or should have."""
        folder = self.dataset.ann_dir or Path()
        return folder / self.dataset.img_infos[index]["ann"]["seg_map"]

    def depth_file(self, index: int) -> Path | None:
        """Return the path that the depth of image `index` should have; None: it is not read."""
        folder, name = self.dataset.dep_dir, self.dataset.img_infos[index]["filename"]
        return None if folder is None else folder / self.dataset.depth_name(name)


def sections_of(parts: ConfigParts) -> Iterator[tuple[str, str, Section]]:
    """Yield name, role and section of each dataset that a config reads; of a list, one by one."""
    train: Any = parts.data.train or {}
    target = train.get("target")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a step without effect
        pair = {SOURCE: train.get("source"), TARGET: target and without_labels(target)}
    found: dict[str, Any] = pair if any(pair.values()) else {SUPERVISED: parts.data.train}
    found[VAL] = parts.data.val
    if _files(parts.data.test) != _files(parts.data.val):
        found[TEST] = parts.data.test
    for role, sections in found.items():
        several = listed(sections)
        for number, section in enumerate(several):
            if isinstance(section, Mapping):  # not a dataset that a program has built
                yield (role if len(several) == 1 else f"{role}.{number}"), role, section


def open_part(
    name: str, role: str, section: Section, parts: ConfigParts
) -> tuple[Part | None, list[Finding]]:
    """Build a dataset; without one, the finding says why."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            if not is_dataset(section, CustomDataset):
                return None, [_unknown(name, section)]
            part = _open(name, role, section, parts)
        except (OSError, ValueError, ImportError) as error:
            if not is_for_user(error):
                raise
            return None, [Finding(name, "dataset-unusable", str(error))]
    own = [str(one.message) for one in said if one.category is UserWarning]
    return part, [Finding(name, "images-left-out", sentence) for sentence in own]


def _unknown(name: str, section: Section) -> Finding:
    """Return that a dataset is of a class that may read anything."""
    sentence = (
        f"expected a dataset derived from CustomDataset, whose files are known, got type "
        f"{section['type']!r}. Nothing of it is looked at: check it yourself, or derive it."
    )
    return Finding(name, "dataset-of-your-own", sentence)


def _open(name: str, role: str, section: Section, parts: ConfigParts) -> Part:
    quiet: Any = copy.copy(section)
    quiet["test_mode"] = True
    dataset = build_dataset(quiet)
    if not role.startswith(SUPERVISED):
        folder = dataset.ann_dir
        # The labels of a test set may be on a server, not here.
        return Part(
            name, role, dataset, folder is not None and (role != TEST or has_folder(folder))
        )
    if (depth := section.get("dep_dir")) and _reads_depth(parts):
        dataset.dep_dir = Path(depth) if dataset.part is None else Path(depth).parent
        is_usual = dataset.img_suffix == dataset.IMG_SUFFIX
        layout = dataset.DEPTH_LAYOUT if is_usual else None
        dataset.depth_command = make_command(dataset.img_dir, dataset.dep_dir, layout)
    reads = any(isinstance(step, LoadAnnotations) for step in dataset.pipeline.steps)
    if reads and dataset.ann_dir is None:
        raise ConfigError(
            f"{name}: expected ann_dir with LoadAnnotations in the pipeline, got none. Set ann_dir "
            "or drop that step."
        )
    return Part(name, role, dataset, reads, sample_size(parts, section))


def _reads_depth(parts: ConfigParts) -> bool:
    try:
        return reads_depth(parts.uda)
    except ConfigError:  # of an unknown method, which is found elsewhere
        return True


def _files(sections: Any) -> list[dict[str, Any]]:
    """Return what says which files an evaluation reads."""
    return [{k: v for k, v in s.items() if k not in NOT_DATA} for s in listed(sections)]
