"""Matched crops take the place of drawn ones: B=3 images of 5x7 pixels."""

from threading import Event, get_ident
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from virtual_device import QUEUED, VirtualDevice

from mmseg.models.uda.base import UDABatch
from mmseg.models.uda.depthmetric.replacement import Replacement

HEIGHT, WIDTH = 5, 7


def batch() -> UDABatch:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 3, HEIGHT, WIDTH, generator=generator)
    label = torch.randint(0, 4, (3, 1, HEIGHT, WIDTH), generator=generator)
    return UDABatch(image, [], label, image, [], None, None)


def crop(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    label = rng.choice([0, 3, 255], (HEIGHT, WIDTH)).astype(np.uint8)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), label


def store(read: Any = crop) -> Any:
    return SimpleNamespace(read=read, labels_path="made/labels")


@pytest.mark.parametrize("indices", [[4, -1, 9], [8, 0, 8], [-1, -1, 1]])
def test_only_matched_images_are_replaced(indices: list[int]) -> None:
    data = batch()
    before = data.image.clone(), data.label.clone()
    replaced = Replacement(data, store(), indices).batch()
    for number, index in enumerate(indices):
        image, label = data.image[number], data.label[number]
        if index >= 0:
            bgr, stored = crop(index)
            rgb = torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1).float()
            image, label = (
                data.normalization().from_bytes(rgb),
                torch.from_numpy(stored).long()[None],
            )
        assert torch.equal(replaced.image[number], image)
        assert torch.equal(replaced.label[number], label)
    assert replaced.image.is_contiguous()
    assert torch.equal(data.image, before[0])
    assert torch.equal(data.label, before[1])


def test_crops_are_read_by_other_threads_while_this_one_goes_on() -> None:
    others, may_read = set(), Event()

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        others.add(get_ident())
        assert may_read.wait(60)
        return crop(index)

    replacement = Replacement(batch(), store(read), [1, 2, -1])
    may_read.set()  # nothing has waited for the crops until here
    replacement.batch()
    assert others
    assert get_ident() not in others


def test_what_is_wrong_with_a_crop_is_raised_where_it_is_used() -> None:
    def damaged(index: int) -> Any:
        raise ValueError(f"crop {index} is damaged")

    replacement = Replacement(batch(), store(damaged), [-1, 6, -1])
    with pytest.raises(ValueError, match="crop 6 is damaged"):
        replacement.batch()


def test_crop_of_another_size_names_both_sizes_and_the_folder() -> None:
    wide = store(lambda index: (np.zeros((5, 8, 3), np.uint8), np.zeros((5, 8), np.uint8)))
    message = r"crops of \(5, 7\) pixels, got \(5, 8\) for crop 2 in 'made/labels'; run run_seg"
    with pytest.raises(ValueError, match=message):
        Replacement(batch(), wide, [2, -1, -1]).batch()


def test_all_crops_of_a_batch_are_one_copy_that_nobody_waits_for() -> None:
    data = batch()
    with VirtualDevice() as device:
        moved = UDABatch(
            data.image.to("cuda"), [], data.label.to("cuda"), data.image, [], None, None
        )
        device.clear()
        replaced = Replacement(moved, store(), [4, 5, 6]).batch()
        assert [event.kind for event in device.events] == [QUEUED]
        assert replaced.image.device.type == "cuda"
