"""Short names of datasets, as `uda.dataset` and `run_seg.py --dataset_name` use them.

The short name of a registered class is its own without `Dataset`: `gta` is `GTADataset`.
"""

from typing import Any

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.system.errors import ConfigError, nearest


def short_name(kind: str) -> str:
    """Return the short name of a registered class.

    >>> short_name("SynthiaDataset")
    'synthia'
    """
    return kind.lower().removesuffix("dataset")


def unlabeled_classes_of(name: str) -> tuple[int, ...]:
    """Return the train ids that a dataset does not annotate.

    Args:
        name: short name, in any case.

    Raises:
        ConfigError: if no dataset is called so.

    >>> unlabeled_classes_of("SYNTHIA")
    (9, 14, 16)
    """
    classes: dict[str, Any] = {short_name(kind): DATASETS.get(kind) for kind in DATASETS.names()}
    known = {
        key: cls
        for key, cls in classes.items()
        if isinstance(cls, type) and issubclass(cls, CustomDataset) and cls.CLASSES
    }
    found = known.get(short_name(name))
    if found is None:
        raise ConfigError(
            f"expected uda.dataset to be a registered dataset without 'Dataset', such as 'gta', "
            f"got {name!r}{nearest(name.lower(), known)}"
        )
    return found.UNLABELED_CLASSES
