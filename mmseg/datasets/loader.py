"""Batches for training and testing.

Sample number n of a run is a pure function of (seed, n); the number of workers, prefetching and
restarts do not change it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmseg.datasets.byte_maps import narrowed, widened
from mmseg.datasets.custom import Sample
from mmseg.system.errors import is_for_user
from mmseg.system.interruption import shield_worker
from mmseg.system.workers import (
    DONE,
    POLL_SECONDS,
    WorkerError,
    in_shared_memory,
    next_item,
    show_stack_on_request,
    worker_context,
    workers_of,
)

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
        return _Pinnable(_each_tensor(torch.Tensor.pin_memory, self.content))


class _Unpacked:
    """The contents of the `_Pinnable`s that a loader yields."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return items_of(self.loader, lambda packed: unguarded(packed.content))


def items_of(loader: DataLoader, unpack: Callable[[Any], Any]) -> Generator[Any, None, None]:
    """Start a loader's workers and return an iterator over `unpack` of everything it yields.

    `WorkerError` if they cannot start or go on, or nothing comes in time.
    """
    with workers_of(loader.num_workers) as workers:
        items = iter(loader)
    return _unpacked(items, workers, unpack)


def _unpacked(
    items: Iterator[Any], workers: Sequence[Any], unpack: Callable[[Any], Any]
) -> Generator[Any, None, None]:
    """Yield `unpack` of each item; the workers end with this generator, even if it raises.

    A raised error keeps alive the variables of the functions that it has left, and with `items`
    the workers.
    """
    try:
        while (item := next_item(items, workers)) is not DONE:
            yield unpack(item)
    finally:
        del items


class Mapped(Dataset[Any]):
    """Item k is `function(arguments[k])`."""

    def __init__(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> None:
        self.function, self.arguments = function, arguments

    def __len__(self) -> int:
        return len(self.arguments)

    def __getitem__(self, item: int) -> Any:
        return self.function(self.arguments[item])


def each_item(
    task: Dataset[Any], workers: int, pin_memory: bool = False
) -> Generator[Any, None, None]:
    """Yield `task[0]`, `task[1]`, … in order, computed by `workers` processes (0: this one)."""
    options = worker_options(workers)
    loader = DataLoader(
        Guarded(task), batch_size=None, pin_memory=pin_memory, collate_fn=_shared, **options
    )
    return items_of(loader, unguarded)


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
    (iteration * world_size + rank) * samples_per_gpu + j, j = 0 … samples_per_gpu - 1. Labels and
    depth are uint8 where that loses nothing; `to_device` gives them their types.
    """
    steps = range(start_iteration, max_iters)
    firsts = [(iteration * world_size + rank) * samples_per_gpu for iteration in steps]
    batches = [range(first, first + samples_per_gpu) for first in firsts]
    samples = NumberedSamples(dataset, seed)
    return _load(samples, workers, batch_sampler=batches, collate_fn=_collate_train)


def build_test_loader(
    dataset: Any, workers: int, rank: int = 0, world_size: int = 1
) -> Iterable[tuple[int, Batch]]:
    """Return an iterable of (index, batch of one) over the indices rank, rank + world_size, …."""
    indices = range(rank, len(dataset), world_size)
    return _load(_IndexedSamples(dataset), workers, sampler=indices, collate_fn=_collate_test)


def to_device(value: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, and give its labels and depth their types; all else stays."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values()):
        return widened({key: to_device(item, device) for key, item in value.items()})
    return value


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
    return _Pinnable(failures[0] if failures else _shared(narrowed(collate(samples))))


def _collate_test(items: Sequence[Any]) -> _Pinnable:
    (item,) = items
    is_failure = isinstance(item, Exception)
    return _Pinnable(item if is_failure else _shared((item[0], collate([item[1]]))))


def _shared(value: Any) -> Any:
    """Return a worker's result in shared memory, or the error that there is too little of it."""
    try:
        return _each_tensor(in_shared_memory, value)
    except WorkerError as error:
        return error


def _each_tensor(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """Apply a function to the tensors of nested dicts, lists and tuples; all else stays."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _each_tensor(function, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_each_tensor(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
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
    return {**options, "multiprocessing_context": worker_context(), "timeout": POLL_SECONDS}


def start_worker(worker: int) -> None:
    """Let a worker use one core and live exactly as long as its main process."""
    del worker
    shield_worker()
    show_stack_on_request()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
