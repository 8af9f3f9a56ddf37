"""Batches for training and testing.

Sample number n of a run is a pure function of (seed, n): neither the number of workers nor
prefetching nor a restart changes it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmseg.datasets.custom import Sample
from mmseg.system.errors import is_for_user
from mmseg.system.interruption import shield_worker, signals_held

Batch = dict[str, Any]

# Up to this many samples, an epoch visits each of them once; beyond, each index is drawn by itself.
_LARGEST_PERMUTATION = 1_000_000
_INDEX_STREAM = 1  # keeps the draws of the index apart from those of the sample
_PREFETCH = 4


class Drawable(Protocol):
    """What a training loader needs of a dataset."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return sample `index`, drawn with `rng`."""
        ...


@dataclass(frozen=True)
class _Failure:
    """An error in the place of a sample."""

    error: Exception


class Guarded(Dataset):
    """A dataset whose errors for the user come as values, until `unguarded` raises them.

    A worker's error would otherwise reach the user inside of two tracebacks.
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
            return _Failure(error)


def unguarded(item: Any) -> Any:
    """Return what a `Guarded` dataset gave, or raise the error that it met."""
    if isinstance(item, _Failure):
        raise item.error
    return item


class NumberedSamples(Dataset):
    """Sample number n of a run, for any n."""

    def __init__(self, dataset: Drawable, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng((self.seed, number))
        return self.dataset.sample(index_of(number, len(self.dataset), self.seed), rng)


class _IndexedSamples(Dataset):
    """The samples of `indices`, in their order, each with its index."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, Sample]:
        index = self.indices[position]
        return index, self.dataset[index]


class _Batches:
    """The sample numbers of every batch of one process, from `start` to `stop`."""

    def __init__(self, start: int, stop: int, size: int, rank: int, world_size: int) -> None:
        self.iterations = range(start, stop)
        self.size, self.rank, self.world_size = size, rank, world_size

    def __len__(self) -> int:
        return len(self.iterations)

    def __iter__(self) -> Iterator[list[int]]:
        for iteration in self.iterations:
            first = (iteration * self.world_size + self.rank) * self.size
            yield list(range(first, first + self.size))


class _Pinnable:
    """What a loader's worker hands over: only its tensors go to pinned memory.

    Left to itself, `DataLoader` also walks through the meta data and turns its tuples into lists.
    """

    def __init__(self, content: Any) -> None:
        self.content = content

    def pin_memory(self) -> "_Pinnable":
        return _Pinnable(_pin(self.content))


class _Unpacked:
    """The contents of what a loader yields."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return items_of(self.loader, lambda packed: unguarded(packed.content))


def items_of(loader: DataLoader, unpack: Callable[[Any], Any]) -> Generator[Any, None, None]:
    """Start a loader's workers, and return an iterator over `unpack` of everything it yields."""
    with signals_held():
        items = iter(loader)
    return _unpacked(items, unpack)


def _unpacked(items: Iterator[Any], unpack: Callable[[Any], Any]) -> Generator[Any, None, None]:
    """Yield `unpack` of each item; the workers end with this generator, also when that raises.

    An error on its way keeps the variables of the functions that it has left, and would keep the
    workers at work.
    """
    try:
        for item in items:
            yield unpack(item)
    finally:
        del items


def build_train_loader(
    dataset: Drawable,
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
    batches = _Batches(start_iteration, max_iters, samples_per_gpu, rank, world_size)
    loader = DataLoader(
        Guarded(NumberedSamples(dataset, seed)),
        batch_sampler=batches,
        collate_fn=_collate_train,
        **_worker_options(workers),
    )
    return _Unpacked(loader)


def build_test_loader(
    dataset: Any, workers: int, rank: int = 0, world_size: int = 1
) -> Iterable[tuple[int, Batch]]:
    """Return an iterable of (index, batch of one) over this process's share of the dataset.

    Process r takes the indices r, r + world_size, …: each image once, none repeated.
    """
    indices = range(rank, len(dataset), world_size)
    loader = DataLoader(
        Guarded(_IndexedSamples(dataset, indices)),
        batch_size=1,
        collate_fn=_collate_test,
        **_worker_options(workers),
    )
    return _Unpacked(loader)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack tensors and list all else; lists (at test time) are collated item by item."""
    batch = {}
    for key in samples[0]:
        metas = "target_img_metas" if key.startswith("target_") else "img_metas"
        names = [_described(sample.get(metas)) for sample in samples]
        batch[key] = _collate_values([sample[key] for sample in samples], names)
    return batch


def index_of(number: int, length: int, seed: int) -> int:
    """Return the dataset index of sample number `number` of a run.

    Up to a million samples the indices of an epoch are a permutation; beyond, each is drawn alone.
    """
    if length > _LARGEST_PERMUTATION:
        return int(np.random.default_rng((seed, number, _INDEX_STREAM)).integers(length))
    epoch, position = divmod(number, length)
    return int(_permutation(length, seed, epoch)[position])


@lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, _INDEX_STREAM)).permutation(length)


def _described(meta: Any) -> str:
    """Name the file of a sample, and its size before padding."""
    if not isinstance(meta, dict) or not meta.get("filename"):
        return ""
    height, width = meta.get("img_shape", ("?", "?"))[:2]
    return f" '{meta['filename']}' {width}x{height}"


def _collate_values(values: list[Any], names: Sequence[str]) -> Any:
    if isinstance(values[0], torch.Tensor):
        shapes = {tuple(value.shape) for value in values}
        if len(shapes) > 1:
            raise ValueError(
                f"expected samples of one size in a batch, got {sorted(shapes)}{','.join(names)}. "
                "End the pipeline's geometry with RandomCrop and Pad of one size (an image "
                "smaller than RandomCrop's crop_size stays smaller without Pad)."
            )
        return torch.stack(values)
    if isinstance(values[0], list):
        return [_collate_values(list(column), names) for column in zip(*values, strict=True)]
    return values


def _collate_train(samples: Sequence[Sample]) -> _Pinnable:
    failures = [sample for sample in samples if isinstance(sample, _Failure)]
    return _Pinnable(failures[0] if failures else collate(samples))


def _collate_test(items: Sequence[Any]) -> _Pinnable:
    if isinstance(items[0], _Failure):
        return _Pinnable(items[0])
    index, sample = items[0]
    return _Pinnable((index, collate([sample])))


def _pin(value: Any) -> Any:
    """Pin the tensors of nested dicts, lists and tuples; numpy arrays and numbers stay."""
    if isinstance(value, torch.Tensor):
        return value.pin_memory()
    if isinstance(value, dict):
        return {key: _pin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_pin(item) for item in value)
    return value


def _worker_options(workers: int) -> dict[str, Any]:
    options: dict[str, Any] = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    if workers > 0:
        options["prefetch_factor"] = _PREFETCH
        options["worker_init_fn"] = start_worker
    return options


def start_worker(worker: int) -> None:
    """Keep a worker from taking the cores of the others and from dying before its main process."""
    del worker
    shield_worker()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
