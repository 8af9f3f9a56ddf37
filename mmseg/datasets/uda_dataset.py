"""Pairs of a labeled source sample and an unlabeled target sample."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mmseg.config.checking import checked
from mmseg.config.registry import DATASETS
from mmseg.config.values import Pair, Section
from mmseg.datasets.custom import CustomDataset, Sample
from mmseg.datasets.joint import JointDataset, Part, joined
from mmseg.datasets.rare_class_sampling import RareClassSampling
from mmseg.datasets.unlabeled import without_labels
from mmseg.system.errors import ConfigError

Domain = Annotated[Section, DATASETS.checked] | CustomDataset
Domains = Domain | JointDataset | Annotated[Sequence[Part], Field(min_length=1)]
Sampling = Annotated[Section, checked(RareClassSampling, "rare_class_sampling", ("source",))]
TARGET_FIELDS = ("target_img", "target_depth", "valid_pseudo_mask")
MAP_FIELDS = ("img", "gt_semantic_seg", "depth", *TARGET_FIELDS)  # share the synchronous crop


@DATASETS.register()
class UDADataset:
    """Source samples with labels, paired with target samples.

    Without rare class sampling, index i means source i // len(target) and target i % len(target).
    With it, the index is ignored: the source sample is drawn by rare class, the target sample
    uniformly.

    The target's labels are not needed: they are read only if its `RandomCrop` has a
    `cat_max_ratio`, or its pipeline steps of your own. Its classes are those of the source if it
    has none.

    Args:
        source, target: config of each dataset, or the dataset. A list of configs is a
            `JointDataset`: their images together, or drawn by `weight`.
        rare_class_sampling: the arguments of `RareClassSampling`, or None.
        sync_crop_size: (height, width) of a window that is cut from both at the same place.
        test_mode: must be False; pairs are for training.
    """

    def __init__(
        self,
        source: Domains,
        target: Domains,
        rare_class_sampling: Sampling | None = None,
        sync_crop_size: Pair | None = None,
        test_mode: bool = False,
    ) -> None:
        if test_mode:
            raise ConfigError(
                "expected a UDADataset for training, got it as val or test data. Set a dataset of "
                "one domain there."
            )
        self.source: Any = _built(source)
        self.target: Any = _built(without_labels(target))
        self.target.is_proven = True  # nobody learns from its labels
        self.ignore_index = self.target.ignore_index
        self.CLASSES, self.PALETTE = self.source.CLASSES, self.source.PALETTE
        self._check_classes()
        self.sync_crop_size = None if sync_crop_size is None else tuple(sync_crop_size)
        self.rare_class_sampling = None
        if rare_class_sampling is not None:
            self.rare_class_sampling = RareClassSampling(self.source, **rare_class_sampling)

    def __len__(self) -> int:
        return len(self.source) * len(self.target)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}.")
        return self.sample(index, np.random.default_rng((0, index)))

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return one pair; every random choice comes from `rng`."""
        if self.rare_class_sampling is not None:
            source = self.rare_class_sampling.sample(rng)
            target = self.target.sample(_draw(self.target, rng), rng)
        else:
            first, second = divmod(index, len(self.target))
            source = self.source.sample(_index(self.source, first, rng), rng)
            target = self.target.sample(_index(self.target, second, rng), rng)
        pair = _join(source, target)
        return pair if self.sync_crop_size is None else self._crop_both(pair, rng)

    def source_sample(self, rng: np.random.Generator) -> Sample:
        """Draw a source sample alone, by rare class if the dataset samples that way."""
        if self.rare_class_sampling is not None:
            return self.rare_class_sampling.sample(rng)
        return self.source.sample(_draw(self.source, rng), rng)

    def _check_classes(self) -> None:
        """Raise `ConfigError` unless source and target mean the same classes."""
        source, target = self.source, self.target
        if not source.CLASSES:
            raise ConfigError(
                f"expected the classes of the source, a {type(source).__name__}, got none. Set "
                "classes=[…] in its section, the names in the order of the train ids."
            )
        are_same = not target.CLASSES or target.CLASSES == source.CLASSES
        if not are_same or source.ignore_index != target.ignore_index:
            raise ConfigError(
                "expected source and target with the same classes and ignore_index, got "
                f"{type(source).__name__} and {type(target).__name__}, which differ. Set "
                "classes=[…] to the same names in both sections."
            )

    def _crop_both(self, pair: Sample, rng: np.random.Generator) -> Sample:
        crop_height, crop_width = self.sync_crop_size or (0, 0)
        height, width = pair["img"].shape[-2:]
        if pair["target_img"].shape[-2:] != (height, width):
            raise ValueError(
                f"expected source and target samples of one size for sync_crop_size, got "
                f"{(height, width)} and {tuple(pair['target_img'].shape[-2:])}. Pad both to one "
                f"size."
            )
        if height < crop_height or width < crop_width:
            raise ValueError(
                f"expected samples of at least sync_crop_size = {self.sync_crop_size} pixels, got "
                f"{(height, width)} for '{pair['img_metas'].get('filename')}'. Lower "
                f"sync_crop_size, or enlarge or pad the images first."
            )
        y = int(rng.integers(0, height - crop_height + 1))
        x = int(rng.integers(0, width - crop_width + 1))
        window = (..., slice(y, y + crop_height), slice(x, x + crop_width))
        cropped = {**pair, **{k: pair[k][window].contiguous() for k in MAP_FIELDS if k in pair}}
        shape = (*cropped["img"].shape[-2:], 3)
        for key in ("img_metas", "target_img_metas"):
            cropped[key] = {**pair[key], "img_shape": shape, "pad_shape": shape}
        return cropped


def _built(domain: Any) -> Any:
    """Return a dataset of its section, or of a list of sections; a dataset as it is."""
    domain = joined(domain)
    return DATASETS.build(domain) if isinstance(domain, Mapping) else domain


def _draw(dataset: Any, rng: np.random.Generator) -> int:
    """Draw an image: of several datasets by their weights, of one uniformly."""
    draw = getattr(dataset, "draw_index", None)
    return int(rng.integers(len(dataset))) if draw is None else draw(rng)


def _index(dataset: Any, index: int, rng: np.random.Generator) -> int:
    """Return `index`, or a drawn one if weights say how often datasets are drawn from."""
    return index if getattr(dataset, "weights", None) is None else _draw(dataset, rng)


def _join(source: Sample, target: Sample) -> Sample:
    """Join a source and a target sample, without the labels of the target."""
    pair = {key: value for key, value in source.items() if key != "valid_pseudo_mask"}
    names = {key: f"target_{key}" for key in ("img", "img_metas", "depth")}
    names["valid_pseudo_mask"] = "valid_pseudo_mask"
    return pair | {name: target[key] for key, name in names.items() if key in target}
