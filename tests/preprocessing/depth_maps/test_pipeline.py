"""Reading, computing and writing at the same time, in bounded memory, each image once.

The networks of this file compute nothing: their levels are a mark in the image's first pixel.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from depth_runs import read_maps
from patience import until
from PIL import Image
from torch import Tensor

from mmseg.preprocessing.depth_maps import from_images, pictures
from mmseg.preprocessing.depth_maps.batches import MAX_WAITING, Batch, Grouping
from mmseg.preprocessing.depth_maps.device import DeviceQueue, Result
from mmseg.preprocessing.depth_maps.from_images import FromImages
from mmseg.preprocessing.depth_maps.jobs import Job
from mmseg.preprocessing.depth_maps.network import Network
from mmseg.preprocessing.depth_maps.pictures import Picture
from mmseg.preprocessing.depth_maps.scaling import Stored
from mmseg.preprocessing.depth_maps.summary import Outcome
from mmseg.preprocessing.depth_maps.writers import Writers, write_map

pytestmark = pytest.mark.usefixtures("forks")


class Marks:
    """A network whose map of an image is its first value everywhere."""

    def __init__(self, work: Callable[[], object] = lambda: None) -> None:
        self.device, self.amp = torch.device("cpu"), False
        self.rule = SimpleNamespace(
            pixels=lambda image: image.transpose(2, 0, 1).astype(np.float32)
        )
        self.work = work
        self.batches: list[tuple[int, tuple[int, int]]] = []

    def maps(self, values: Tensor, size: tuple[int, int]) -> Stored:
        self.work()
        self.batches.append((len(values), size))
        levels = values[:, :1, :1, 0].expand(-1, *size).to(torch.uint8)  # (B, H, W)
        return Stored(levels, torch.ones(len(values), dtype=torch.bool))


def write_marks(folder: Path, sizes: list[tuple[int, int]]) -> list[Job]:
    """Write image k of size `sizes[k]` with the value k."""
    jobs = []
    for number, size in enumerate(sizes):
        Image.fromarray(np.full(size, number, np.uint8)).save(folder / f"{number}.png")
        jobs.append(Job(folder / f"{number}.png", folder / f"maps/{number:03d}.png"))
    return jobs


def make(network: object, jobs: list[Job], batch_size: int, workers: int) -> list[Outcome]:
    maker = FromImages(network, batch_size, workers)  # type: ignore[arg-type]
    with Writers((workers + 1) // 2, batch_size) as writers:
        return list(maker.outcomes(jobs, writers, lambda: False))


SIZES = [(6, 4), (5, 9), (6, 4), (7, 3), (6, 4), (5, 9), (6, 4), (5, 9), (8, 2), (6, 4), (6, 4)]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (2, 0), (3, 2), (20, 1)])
def test_every_image_gets_its_own_map_once(batch_size, workers, tmp_path):
    jobs = write_marks(tmp_path, SIZES)
    network = Marks()
    outcomes = make(network, jobs, batch_size, workers)
    assert sorted(outcome.job.output for outcome in outcomes) == [job.output for job in jobs]
    assert not any(outcome.failure for outcome in outcomes)
    maps = read_maps(tmp_path / "maps")
    for number, size in enumerate(SIZES):
        assert maps[f"{number:03d}"].shape == size
        assert (maps[f"{number:03d}"] == number).all()
    assert sum(count for count, _ in network.batches) == len(SIZES)
    if batch_size == 2:
        full = [size for count, size in network.batches if count == 2]
        assert sorted(full) == [(5, 9), (6, 4), (6, 4), (6, 4)]


def pictures_of(sizes: list[tuple[int, int]]) -> Iterator[Picture]:
    return (Picture(number, torch.zeros(3, 1, 1), size) for number, size in enumerate(sizes))


def test_images_of_many_sizes_do_not_pile_up():
    """200 images of 12 sizes, drawn; batches of 4: no more than 16 ever wait."""
    rng = np.random.default_rng(2)
    sizes = [(int(height), 7) for height in rng.integers(1, 13, 200)]
    grouping, batches, most = Grouping(batch_size=4), [], 0
    for picture in pictures_of(sizes):
        batches += grouping.add(picture)
        most = max(most, grouping.num_waiting)
    assert most == MAX_WAITING * 4 - 1  # the image that would be the 16th starts a batch
    batches += grouping.rest()
    assert grouping.num_waiting == 0
    numbers = [number for batch in batches for number in batch.numbers]
    assert sorted(numbers) == list(range(200))
    assert {len(batch.numbers) for batch in batches} == {1, 2, 3, 4}
    for batch in batches:
        assert {sizes[number] for number in batch.numbers} == {batch.size}
        assert len(batch.pixels) == len(batch.numbers)


def test_the_largest_group_goes_first_when_too_many_wait():
    sizes = [(1, 1), (2, 2), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8)]
    grouping = Grouping(batch_size=3)
    grouped = [batch for picture in pictures_of(sizes) for batch in grouping.add(picture)]
    assert not grouped
    grouped = [
        batch for p in pictures_of([(9, 9), (10, 10), (11, 11)]) for batch in grouping.add(p)
    ]
    assert [batch.size for batch in grouped] == [(2, 2)]


class Recorded:
    """A lane that notes what is done when; a batch is computed while its former is fetched."""

    ahead = 1

    def __init__(self) -> None:
        self.events: list[str] = []

    def upload(self, values: Tensor) -> Tensor:
        return values

    def start(self, batch: Batch) -> SimpleNamespace:
        (number,) = batch.numbers
        self.events.append(f"start {number}")

        def fetch() -> tuple[Result, float]:
            self.events.append(f"fetch {number}")
            return Result([number], np.zeros((1, 2, 2), np.uint8), [True]), 0.5

        return SimpleNamespace(fetch=fetch)


def test_results_are_fetched_when_the_next_batch_was_started():
    queue = DeviceQueue(Marks())  # type: ignore[arg-type]
    queue.lane = Recorded()
    for number in range(3):
        for result in queue.put(Batch([number], [torch.zeros(1)], (2, 2))):
            queue.lane.events.append(f"write {result.numbers[0]}")
    assert [result.numbers for result in queue.rest()] == [[2]]
    assert queue.lane.events == [
        *("start 0", "start 1", "fetch 0", "write 0"),
        *("start 2", "fetch 1", "write 1", "fetch 2"),
    ]
    assert queue.busy == 1.5


def test_an_image_is_computed_while_the_next_is_read_and_the_former_is_written(
    tmp_path, monkeypatch
):
    """Computing waits for both, and so does writing for the computing of the next.

    One after the other, they would wait for ever.
    """
    jobs = write_marks(tmp_path, [(6, 4)] * 10)
    read = pictures.read_color

    def read_color(path):
        path.with_suffix(".read").touch()
        return read(path)

    def compute():
        number = len(network.batches)
        _begun(tmp_path / "maps", number + 1).touch()
        until(lambda: number == 0 or jobs[number - 1].output.exists())
        until(lambda: number == 9 or jobs[number + 1].image.with_suffix(".read").exists())

    monkeypatch.setattr(pictures, "read_color", read_color)
    monkeypatch.setattr(from_images, "write_map", _write_meanwhile)
    network = Marks(compute)
    assert len(make(network, jobs, batch_size=1, workers=2)) == 10
    assert [count for count, _ in network.batches] == [1] * 10


def _begun(maps: Path, number: int) -> Path:
    """Return the file that is there once so many batches have begun."""
    return maps.parent / f"begun_{number}"


def _write_meanwhile(path: Path, levels: np.ndarray) -> None:
    until(_begun(path.parent, min(int(path.stem) + 2, 10)).exists)
    write_map(path, levels)


def test_maps_that_wait_to_be_written_are_bounded(tmp_path, monkeypatch):
    """Writing is slower than computing here; the maps must not pile up in the memory.

    Of 8 batches of three maps each, one is written when the next but one has begun.
    """
    jobs = write_marks(tmp_path, [(6, 4)] * 24)
    monkeypatch.setattr(from_images, "write_map", _write_late)
    waiting = []

    def compute():
        waiting.append(len(writers.tasks))
        _begun(tmp_path / "maps", len(waiting)).touch()

    with Writers(2, batch_size=3) as writers:
        outcomes = list(FromImages(Marks(compute), 3, 0).outcomes(jobs, writers, lambda: False))  # type: ignore[arg-type]
        assert len(outcomes) == 24
        assert waiting[:3] == [0, 3, 6]
        assert 6 <= max(waiting) <= writers.limit == 3 + 2 * 2


def _write_late(path: Path, levels: np.ndarray) -> None:
    batch = int(path.stem) // 3  # from 0
    until(_begun(path.parent, min(batch + 3, 8)).exists)


def test_after_a_signal_no_batch_is_started_and_the_started_ones_are_written(tmp_path):
    jobs = write_marks(tmp_path, [(6, 4)] * 12)
    for ahead, workers in ((0, 0), (1, 2)):
        network = Marks()
        maker = FromImages(network, 2, workers)  # type: ignore[arg-type]
        maker.queue.lane.ahead = ahead
        folder = tmp_path / f"maps{ahead}"
        here = [Job(job.image, folder / job.output.name) for job in jobs]
        with Writers(workers) as writers:
            must_stop = lambda network=network: len(network.batches) >= 3  # noqa: E731
            outcomes = list(maker.outcomes(here, writers, must_stop))
        assert len(network.batches) == 3
        assert [outcome.job for outcome in outcomes] == here[:6]
        assert sorted(read_maps(folder)) == [f"{number:03d}" for number in range(6)]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA: nothing left.\nDetails"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 5 bytes."),
    ],
)
def test_full_memory_of_the_device_is_a_sentence(error, tmp_path):
    def fail():
        raise error

    jobs = write_marks(tmp_path, [(6, 4)] * 3)
    message = (
        r"a batch of 3 images of 4x6 pixels to fit into .*(nothing|memory: 5).* a smaller --batch"
    )
    with pytest.raises(ValueError, match=message):
        make(Marks(fail), jobs, 3, 0)


def test_full_memory_of_one_image_names_amp_only_where_it_was_not_given(tmp_path):
    def fail():
        raise torch.OutOfMemoryError

    for amp, advice in ((False, "with --amp"), (True, "on a device with more memory")):
        network = Marks(fail)
        network.amp = amp
        message = f"a batch of 1 image of 4x6 .* OutOfMemoryError; start .* continue, {advice}."
        with pytest.raises(ValueError, match=message):
            make(network, write_marks(tmp_path, [(6, 4)]), 1, 0)


def test_other_errors_of_the_device_stay_what_they_are(tmp_path):
    def fail():
        raise RuntimeError("a mistake of the program")

    with pytest.raises(RuntimeError, match="a mistake"):
        make(Marks(fail), write_marks(tmp_path, [(6, 4)]), 1, 0)


@pytest.mark.gpu
def test_gpu_makes_the_maps_of_the_cpu(model, images, made, tmp_path):
    """To one level; pinned memory, two streams and events change nothing else."""
    from depth_runs import run

    for amp, tolerance in ((False, 1), (True, 12)):
        out = tmp_path / f"maps{amp}"
        device = torch.device("cuda", 0)
        options = {"model": str(model), "device": device, "amp": amp}
        summary = run(images, out, batch_size=2, workers=2, **options)
        assert summary.made == 11
        assert 0 < summary.busy < summary.seconds
        expected = read_maps(made)
        for name, levels in read_maps(out).items():
            difference = np.abs(levels.astype(int) - expected[name])
            assert difference.max() <= tolerance, name


def test_network_is_what_the_pipeline_expects():
    """`Marks` stands for it."""
    for name in ("rule", "device"):
        assert hasattr(Marks(), name)
    assert set(Network.maps.__wrapped__.__code__.co_varnames[:3]) == {"self", "pixels", "size"}
