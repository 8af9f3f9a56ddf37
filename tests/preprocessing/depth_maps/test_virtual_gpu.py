"""Depth maps made on a virtual GPU: right, with one wait for each batch."""

import math
from collections import Counter

import pytest
import torch
from depth_runs import assert_truncated, read_maps, run
from virtual_device import QUEUED, READ, UPLOAD, VirtualDevice

MODULE, BATCH = "preprocessing.depth_maps", 4


@pytest.mark.parametrize("amp", [False, True])
def test_maps_are_right_and_each_batch_is_waited_for_once(
    images, model, plain, tmp_path, amp: bool
) -> None:
    """Copies there and back are queued; only those of the network's weights are waited for."""
    sizes = Counter(values.shape for values in plain.values())
    batches = sum(math.ceil(count / BATCH) for count in sizes.values())
    with VirtualDevice() as device:
        cuda = torch.device("cuda", 0)
        run(images, tmp_path, model=str(model), device=cuda, batch_size=BATCH, amp=amp)
    assert device.functions(READ) == {f"{MODULE}.device.fetch": batches}, device.waits()
    assert device.functions(UPLOAD).keys() == {f"{MODULE}.network.load_network"}
    assert device.functions(QUEUED) == {
        f"{MODULE}.device.upload": len(plain),
        f"{MODULE}.device._fetched": 2 * batches,
    }
    maps = read_maps(tmp_path)
    assert maps.keys() == plain.keys()
    for name, levels in maps.items():
        if amp:  # the network computes in half precision
            assert abs(levels - plain[name]).mean() < 1
        else:
            assert_truncated(levels, plain[name])
