"""Batches for training and testing.

Sample number n of a run is a pure function of (seed, n); the number of workers, prefetching and
restarts do not change it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmseg.datasets.custom import Sample
from mmseg.system.errors import is_for_user
from mmseg.system.interruption import shield_worker, signals_held
from mmseg.system.workers import worker_context

Batch = dict[str, Any]

# Up to this many samples, an epoch visits each once; beyond, each index is drawn independently.
LARGEST_PERMUTATION = 1_000_000
INDEX_STREAM = 1  # keeps the draws of the index apart from those of the sample
PREFETCH = 4


class Guarded(Dataset):
    """A dataset that returns errors meant for the user as values, which `unguarded` raises.

    Raised in a worker, an error would reach the user inside two tracebacks.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except (OSError, ValueError) as error:
            if not is_for_user(error):
                raise
            return error


def unguarded(item: Any) -> Any:
    """Return what a `Guarded` dataset gave, or raise the error in its place."""
    if isinstance(item, Exception):
        raise item
    return item


class NumberedSamples(Dataset):
    """Sample number n of a run, for any n; `dataset` has `sample(index, rng)`."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng((self.seed, number))
        return self.dataset.sample(index_of(number, len(self.dataset), self.seed), rng)


class _IndexedSamples(Dataset):
    """The samples of a dataset, each with its index."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, Sample]:
        return index, self.dataset[index]


class _Pinnable:
    """What a loader's worker hands over: only its tensors go to pinned memory.

    Without it, `DataLoader` would turn the tuples of the metadata into lists.
    """

    def __init__(self, content: Any) -> None:
        self.content = content

    def pin_memory(self) -> "_Pinnable":
        return _Pinnable(_pin(self.content))


class _Unpacked:
    """The contents of the `_Pinnable`s that a loader yields."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return items_of(self.loader, lambda packed: unguarded(packed.content))


def items_of(loader: DataLoader, unpack: Callable[[Any], Any]) -> Generator[Any, None, None]:
    """Start a loader's workers and return an iterator over `unpack` of everything it yields."""
    with signals_held():
        items = iter(loader)
    return _unpacked(items, unpack)


def _unpacked(items: Iterator[Any], unpack: Callable[[Any], Any]) -> Generator[Any, None, None]:
    """Yield `unpack` of each item; the workers end with this generator, even if it raises.

    A raised error keeps alive the variables of the functions that it has left, and with `items`
    the workers.
    """
    try:
        for item in items:
            yield unpack(item)
    finally:
        del items


def build_train_loader(
    dataset: Any,
    samples_per_gpu: int,
    workers: int,
    seed: int,
    start_iteration: int,
    max_iters: int,
    rank: int = 0,
    world_size: int = 1,
) -> Iterable[Batch]:
    """Return an iterable of the batches of iterations `start_iteration` … `max_iters` - 1.

    Batch `iteration` of process `rank` holds the samples
    (iteration * world_size + rank) * samples_per_gpu + j, j = 0 … samples_per_gpu - 1.
    """
    steps = range(start_iteration, max_iters)
    firsts = [(iteration * world_size + rank) * samples_per_gpu for iteration in steps]
    batches = [list(range(first, first + samples_per_gpu)) for first in firsts]
    samples = NumberedSamples(dataset, seed)
    return _load(samples, workers, batch_sampler=batches, collate_fn=_collate_train)


def build_test_loader(
    dataset: Any, workers: int, rank: int = 0, world_size: int = 1
) -> Iterable[tuple[int, Batch]]:
    """Return an iterable of (index, batch of one) over the indices rank, rank + world_size, …."""
    indices = range(rank, len(dataset), world_size)
    return _load(_IndexedSamples(dataset), workers, sampler=indices, collate_fn=_collate_test)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack tensors and list everything else; lists (at test time) are collated item by item."""
    batch = {}
    for key in samples[0]:
        metas = "target_img_metas" if key.startswith("target_") else "img_metas"
        names = [_described(sample.get(metas)) for sample in samples]
        batch[key] = _collate_values([sample[key] for sample in samples], names)
    return batch


def index_of(number: int, length: int, seed: int) -> int:
    """Return the dataset index of sample number `number` of a run."""
    if length > LARGEST_PERMUTATION:
        return int(np.random.default_rng((seed, number, INDEX_STREAM)).integers(length))
    epoch, position = divmod(number, length)
    return int(_permutation(length, seed, epoch)[position])


@lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, INDEX_STREAM)).permutation(length)


def _described(meta: Any) -> str:
    """Name the file of a sample, and its size before padding."""
    if not isinstance(meta, dict) or not meta.get("filename"):
        return ""
    height, width = meta.get("img_shape", ("?", "?"))[:2]
    return f" '{meta['filename']}' {width}x{height}"


def _collate_values(values: list[Any], names: Sequence[str]) -> Any:
    if isinstance(values[0], torch.Tensor):
        if len(shapes := {tuple(value.shape) for value in values}) > 1:
            raise ValueError(
                f"expected samples of one size in a batch, got {sorted(shapes)}{','.join(names)}. "
                "Crop and pad to one size: RandomCrop, then Pad (without it, an image smaller than "
                "RandomCrop's crop_size stays smaller)."
            )
        return torch.stack(values)
    if isinstance(values[0], list):
        return [_collate_values(list(column), names) for column in zip(*values, strict=True)]
    return values


def _collate_train(samples: Sequence[Sample]) -> _Pinnable:
    failures = [sample for sample in samples if isinstance(sample, Exception)]
    return _Pinnable(failures[0] if failures else collate(samples))


def _collate_test(items: Sequence[Any]) -> _Pinnable:
    (item,) = items
    return _Pinnable(item if isinstance(item, Exception) else (item[0], collate([item[1]])))


def _pin(value: Any) -> Any:
    """Pin the tensors of nested dicts, lists and tuples; numpy arrays and numbers stay."""
    if isinstance(value, torch.Tensor):
        return value.pin_memory()
    if isinstance(value, dict):
        return {key: _pin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_pin(item) for item in value)
    return value


def _load(samples: Dataset, workers: int, **options: Any) -> _Unpacked:
    if workers > 0:
        options["prefetch_factor"] = PREFETCH
    options |= {"pin_memory": torch.cuda.is_available(), **worker_options(workers)}
    return _Unpacked(DataLoader(Guarded(samples), **options))


def worker_options(workers: int) -> dict[str, Any]:
    """Return the options with which every `DataLoader` of this program starts its workers."""
    if workers == 0:
        return {}
    options: dict[str, Any] = {"num_workers": workers, "worker_init_fn": start_worker}
    return {**options, "multiprocessing_context": worker_context()}


def start_worker(worker: int) -> None:
    """Let a worker use one core and live exactly as long as its main process."""
    del worker
    shield_worker()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
