"""Short names of datasets, as `uda.dataset` and `run_seg.py --dataset_name` use them.

The short name of a registered class leaves out `Dataset`: `gta` is `GTADataset`.
"""

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.system.errors import ConfigError, nearest


def short_name(kind: str) -> str:
    """Return the short name of a registered class.

    >>> short_name("SynthiaDataset")
    'synthia'
    """
    return kind.lower().removesuffix("dataset")


def datasets_by_short_name() -> dict[str, type[CustomDataset]]:
    """Return the registered datasets."""
    registered = {short_name(kind): DATASETS.get(kind) for kind in DATASETS.names()}
    return {
        name: cls
        for name, cls in registered.items()
        if isinstance(cls, type) and issubclass(cls, CustomDataset)
    }


def unlabeled_classes_of(name: str) -> tuple[int, ...]:
    """Return the train ids that a dataset (its short name, in any case) does not annotate.

    Raises `ConfigError` if there is no such dataset.

    >>> unlabeled_classes_of("SYNTHIA")
    (9, 14, 16)
    """
    known = datasets_by_short_name()
    found = known.get(short_name(name))
    if found is None:
        raise ConfigError(
            f"expected uda.dataset to be a registered dataset without 'Dataset', such as 'gta', "
            f"got {name!r}{nearest(name.lower(), known)}"
        )
    return found.UNLABELED_CLASSES


def usual_crops() -> dict[str, int]:
    """Return how many source crops are usual, by the short names of the datasets that say so."""
    known = datasets_by_short_name()
    return {name: cls.NUM_CROPS for name, cls in known.items() if cls.NUM_CROPS is not None}
