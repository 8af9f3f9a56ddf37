"""Depth maps made on a virtual GPU: right, with one wait for each batch."""

import math
from collections import Counter

import pytest
import torch
from depth_runs import assert_truncated, read_maps, run
from virtual_device import QUEUED, READ, UPLOAD, VirtualDevice

MODULE, BATCH = "preprocessing.depth_maps.network", 4


@pytest.mark.parametrize("amp", [False, True])
def test_maps_are_right_and_each_batch_is_waited_for_once(
    images, model, plain, tmp_path, amp: bool
) -> None:
    """Images go there without waiting; only the network's weights and the maps are waited for."""
    sizes = Counter(values.shape for values in plain.values())
    batches = sum(math.ceil(count / BATCH) for count in sizes.values())
    with VirtualDevice() as device:
        cuda = torch.device("cuda", 0)
        run(images, tmp_path, model=str(model), device=cuda, batch_size=BATCH, amp=amp)
    # For the levels; then the device has computed, and whether they are finite is there too.
    assert device.functions(READ) == {f"{MODULE}._compute": 2 * batches}, device.waits()
    assert device.functions(UPLOAD).keys() == {f"{MODULE}.load_network"}
    assert device.functions(QUEUED) == {f"{MODULE}._compute": batches}
    maps = read_maps(tmp_path)
    assert maps.keys() == plain.keys()
    for name, levels in maps.items():
        if amp:  # the network computes in half precision
            assert abs(levels - plain[name]).mean() < 1
        else:
            assert_truncated(levels, plain[name])
