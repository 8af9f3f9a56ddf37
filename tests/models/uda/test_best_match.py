"""The best source crop is the one with the highest score in float64; of equal ones, the first.

A bank is made of `kinds` of histograms, so that its scores follow from a few similarities.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from virtual_device import QUEUED, VirtualDevice

from mmseg.datasets.depth import rows
from mmseg.models.uda.depthmetric import DepthMetric, similarity
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.depthmetric.similarity import BestMatch, Target, best_match

FINDERS = {"as on a CPU": similarity._search, "as on a GPU": similarity._compare_all}


@dataclass
class Crops:
    """(M, C, 256) counts that are made when they are read, as `compact` reads them.

    Class c of crop m has the histogram `kinds[picks[m, c]]`; kind 0 is empty.
    """

    kinds: Tensor  # (P, 256) float32
    picks: np.ndarray  # (M, C)
    dtype = torch.float32

    @property
    def shape(self) -> tuple[int, int, int]:
        return *self.picks.shape, 256

    def is_floating_point(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, some: slice) -> Tensor:
        return self.kinds[torch.from_numpy(self.picks[some])]

    def bank(self) -> Bank:
        return Bank(rows.compact(self))  # pyright: ignore[reportArgumentType]

    def scores(self, target: np.ndarray) -> np.ndarray:
        """The scores (M,) of a target (C, 256), as section 6 of the method describes them."""
        kinds = self.kinds.double().numpy()
        sizes = kinds.sum(1)
        total, products = np.zeros(len(self)), np.zeros(len(self))
        for c, own in enumerate(target):
            if own.any():
                norms = np.sqrt((kinds**2).sum(1) * (own**2).sum())
                cosine = np.divide(
                    (kinds * own).sum(1), norms, out=np.zeros(len(kinds)), where=norms > 0
                )
                distance = np.abs(kinds - own).sum(1) / (sizes + own.sum())
                alike = np.where(sizes > 0, (cosine + 1 - distance) / 2, 0)
                total += alike[self.picks[:, c]]
            products += own.sum() * sizes[self.picks[:, c]]
        norms = np.sqrt((sizes[self.picks] ** 2).sum(1) * (target.sum(1) ** 2).sum())
        return total * np.divide(products, norms, out=np.zeros(len(self)), where=norms > 0)


def make_crops(seed: int, num: int, classes: int, kinds: int, bins: int) -> Crops:
    """Crops with about half of the classes; the last third of them repeats others."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((kinds, 256), np.float32)
    used = rng.choice(256, bins, replace=False)
    counts[:, used] = rng.integers(1, 40_000, (kinds, bins)) * (rng.random((kinds, bins)) < 0.4)
    counts[0] = 0
    picks = rng.integers(1, kinds, (num, classes)) * (rng.random((num, classes)) < 0.55)
    picks[num - num // 3 :] = picks[rng.integers(0, num - num // 3, num // 3)]
    return Crops(torch.from_numpy(counts), picks)


def make_targets(seed: int, num: int, crops: Crops) -> Tensor:
    """Histograms (num, C, 256): of every three, one like a crop; some classes are empty."""
    rng = np.random.default_rng(seed)
    classes = crops.shape[1]
    targets = rng.integers(0, 900, (num, classes, 256)) * (rng.random((num, classes, 1)) < 0.6)
    for number in range(0, num, 3):
        index = int(rng.integers(len(crops)))
        own = crops[slice(index, index + 1)][0].numpy()
        targets[number] = own * (rng.random((classes, 1)) < 0.9)
    return torch.from_numpy(targets).double()


def target_of(histograms: Tensor, bank: Bank) -> Target:
    """Look at (B, C, 256) counts."""
    return Target.of(torch.nn.functional.pad(histograms, (1, 1, 1, 1)), bank)


def check(crops: Crops, targets: Tensor, batch: int, finders: dict[str, Callable]) -> None:
    bank = crops.bank()
    expected = [crops.scores(target) for target in targets.numpy()]
    for name, find in finders.items():
        for first in range(0, len(targets), batch):
            some = targets[first : first + batch]
            index, _, _ = find(target_of(some, bank), bank)
            best = [int(scores.argmax()) for scores in expected[first : first + batch]]
            assert index.tolist() == best, name


def test_a_thousand_targets_find_the_best_of_2000_crops() -> None:
    crops = make_crops(0, num=2000, classes=5, kinds=90, bins=31)
    check(crops, make_targets(1, 1000, crops), batch=50, finders=FINDERS)


@pytest.mark.slow
def test_twenty_targets_find_the_best_of_24966_crops() -> None:
    crops = make_crops(2, num=24_966, classes=19, kinds=400, bins=119)
    check(crops, make_targets(3, 20, crops), batch=2, finders=FINDERS)


@pytest.mark.slow
def test_three_targets_find_the_best_of_a_million_crops() -> None:
    if free_memory() < 8e9:
        pytest.skip(f"8 GB of free memory are needed, {free_memory() / 1e9:.1f} GB are there")
    crops = make_crops(4, num=1_000_000, classes=19, kinds=400, bins=119)
    check(crops, make_targets(5, 3, crops), batch=1, finders={"as on a CPU": similarity._search})


def free_memory() -> float:
    """Bytes that can be had; 0 where the system does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    except OSError:
        return 0
    return int(lines["MemAvailable"].split()[0]) * 1024


def small() -> tuple[Crops, Tensor]:
    crops = make_crops(6, num=23, classes=4, kinds=9, bins=13)
    return crops, make_targets(7, 12, crops)


def found(find: Callable, histograms: Tensor, bank: Bank) -> list[Tensor]:
    return list(find(target_of(histograms, bank), bank))


def test_similarities_and_mean_equal_a_loop_over_classes() -> None:
    crops, targets = small()
    bank = crops.bank()
    match: BestMatch = best_match(target_of(targets, bank), bank)
    for b, target in enumerate(targets.numpy()):
        scores, sims = crops.scores(target), match.similarity[b].tolist()
        num_present = max(1, (target.sum(1) > 0).sum())
        assert match.mean[b].item() == pytest.approx(scores.max() / num_present, abs=1e-12)
        for c, other in enumerate(crops[slice(None)][match.index[b]].double().numpy()):
            own, value = target[c], 0.0
            if own.any() and other.any():
                cosine = own @ other / np.sqrt(own @ own * (other @ other))
                value = (cosine + 1 - np.abs(own - other).sum() / (own + other).sum()) / 2
            assert sims[c] == pytest.approx(value, abs=1e-7)


def test_identical_distributions_are_fully_similar() -> None:
    """By hand: 4 pixels at depth 5 and the same give 1, three times as many (1 + 1 - 8/16) / 2."""
    target = torch.zeros(1, 2, 256).double()
    target[0, 0, 5] = 4
    for pixels, expected in ((4, 1.0), (12, 0.75)):
        bank = torch.zeros(1, 2, 256)
        bank[0, 0, 5] = pixels
        match = best_match(target_of(target, Bank(bank)), Bank(bank))
        assert match.similarity.tolist() == [[expected, 0]]
        assert match.mean.tolist() == [expected]


def test_depths_that_no_crop_has_count_too() -> None:
    """By hand: one of two depths is shared, 3 of 6 and 5 pixels: cos 9 / (√18·√34), l1 5 / 11."""
    target, bank = torch.zeros(1, 1, 256).double(), torch.zeros(1, 1, 256)
    target[0, 0, [7, 9]] = 3
    bank[0, 0, [7, 8]] = torch.tensor([3.0, 2.0])
    match = best_match(target_of(target, Bank(bank)), Bank(bank))
    cosine = 9 / (18**0.5 * 13**0.5)
    assert match.mean.item() == pytest.approx((cosine + 1 - 5 / 11) / 2, abs=1e-12)


def test_both_ways_give_the_same_bits() -> None:
    crops, targets = small()
    for one, other in zip(
        *(found(f, targets, crops.bank()) for f in FINDERS.values()), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_images_and_banks_without_a_class_match_the_first_crop(find: Callable) -> None:
    crops, targets = small()
    index, fixed, score = found(find, torch.zeros_like(targets), crops.bank())
    assert not index.any() and not fixed.any() and not score.any()
    index, fixed, score = found(find, targets, Bank(torch.zeros(3, 4, 256)))
    assert not index.any() and not fixed.any() and not score.any()


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_pieces_and_chunks_change_nothing(find: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    crops, targets = small()
    expected = found(find, targets, crops.bank())
    for module, name, value in (
        (rows, "AT_ONCE", 3000), (similarity, "CELLS", 900), (similarity, "FIRST", 2),
        (similarity, "CHUNK", 3),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    for one, other in zip(expected, found(find, targets, crops.bank()), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_rows_of_16_bits_change_nothing(find: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with larger counts, or fractions, are stored apart."""
    crops, targets = small()
    crops.kinds[3] += crops.kinds[3] / 8
    expected = found(find, targets, crops.bank())
    monkeypatch.setattr(rows, "SMALL", 0)
    bank = crops.bank()
    assert [store.dtype for store in bank.stores] == [torch.int16, torch.float32]
    assert min(len(store) for store in bank.stores) > 5
    index = torch.tensor([3, 0, 22])
    assert torch.equal(bank.of_crops(index), crops[slice(None)][index][:, :, bank.bins])
    for one, other in zip(expected, found(find, targets, bank), strict=True):
        assert torch.equal(one, other)


@contextmanager
def reduced_precision() -> Iterator[None]:
    """Everything that lets torch round products."""
    matmul = torch.backends.cuda.matmul
    before = torch.get_float32_matmul_precision(), matmul.allow_tf32
    torch.set_float32_matmul_precision("medium")
    matmul.allow_tf32 = True
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        yield
    torch.set_float32_matmul_precision(before[0])
    matmul.allow_tf32 = before[1]


@pytest.mark.parametrize("find", FINDERS.values(), ids=FINDERS)
def test_no_setting_of_precision_changes_a_bit(find: Callable) -> None:
    crops, targets = small()
    expected = found(find, targets, crops.bank())
    with reduced_precision():
        for one, other in zip(expected, found(find, targets, crops.bank()), strict=True):
            assert torch.equal(one, other)


def test_bank_follows_the_device_and_keeps_its_precision() -> None:
    crops, _ = small()
    metric = DepthMetric(crops.bank(), reweight_threshold=0, relabel_threshold=0)
    assert {t.dtype for t in metric.half().bank.tensors.values()} == {
        torch.float32, torch.float64, torch.int32, torch.int64
    }  # fmt: skip
    inputs = torch.zeros(1, 5, 7).long(), torch.ones(1, 5, 7), torch.ones(1, 5, 7).bool()
    assert metric.double()(*inputs, inputs[1], 0).weight.dtype == torch.float32
    assert {t.device.type for t in metric.to("meta").bank.tensors.values()} == {"meta"}


@pytest.mark.parametrize("classes", [5, 41])
def test_metric_takes_at_most_60_launches_on_a_gpu_whatever_the_classes(classes: int) -> None:
    """A loop over classes would take more; a wait would be no launch, but an event."""
    crops = make_crops(8, num=17, classes=classes, kinds=9, bins=13)
    label = torch.from_numpy(np.random.default_rng(9).integers(0, classes, (2, 6, 7)))
    with VirtualDevice() as device:
        metric = DepthMetric(crops.bank(), reweight_threshold=0.1, relabel_threshold=0.1).to("cuda")
        inputs = [
            value.to("cuda") for value in (label, torch.ones(2, 6, 7), label > 2, label.float())
        ]
        device.clear()
        metric(*inputs, 0)
        assert sum(device.kernels.values()) <= 60, device.kernels
        assert not [event for event in device.events if event.kind != QUEUED], device.waits()
