"""An evaluation never needs more memory than training with the same config."""

import gc

import models_cfg
import pytest
import torch
from golden_init import init_module
from torch.profiler import ProfilerActivity, profile

from mmseg.models import build_segmentor
from mmseg.models.segmentors import slide_logits, window_boxes

CROP = 64
SLIDE = {"mode": "slide", "batched_slide": True, "crop_size": (CROP, CROP), "stride": (32, 32)}
NETWORKS = {  # the wide head is the worst case: training keeps little of the backbone
    "daformer": lambda: models_cfg.daformer(channels=128, embed=128, test_cfg=SLIDE),
    "hrda": lambda: models_cfg.hrda(channels=64, embed=64, hr_crop=(32, 32), test_cfg=SLIDE),
}


def peak_of(function):
    """Return the largest number of bytes that tensors made by `function` have had together."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = profiler.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = most = 0
    for _, change in sorted(changes, key=lambda item: item[0]):
        held += change
        most = max(most, held)
    return most


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request):
    return init_module(build_segmentor(NETWORKS[request.param]()))


def train(network, images):
    """Do a supervised step; self-training needs more."""
    network.train()
    label = torch.zeros(images, 1, CROP, CROP, dtype=torch.int64)
    losses = network.forward_train(torch.rand(images, 3, CROP, CROP), None, label)
    sum(value for key, value in losses.items() if "loss" in key).backward()
    network.zero_grad(set_to_none=True)


def evaluate(network, windows=None):
    """Label an image of one by two crops, as Cityscapes has of HRDA's: three windows."""
    network.eval().test_cfg = {**SLIDE, "window_batch_size": windows}
    image = torch.rand(1, 3, CROP, 2 * CROP)
    return network.simple_test(image, [{"ori_shape": (CROP, 2 * CROP, 3)}])


def test_evaluation_needs_less_memory_than_a_training_step_with_a_batch_of_one(network):
    training = peak_of(lambda: train(network, 1))
    assert peak_of(lambda: evaluate(network)) < training


def test_evaluation_sends_no_larger_batch_through_than_training_with_a_batch_of_two(network):
    batches = []
    handle = network.backbone.register_forward_pre_hook(
        lambda _, inputs: batches.append(inputs[0].numel())
    )
    train(network, 2)
    largest, batches[:] = max(batches), []
    evaluate(network)
    handle.remove()
    assert max(batches) == largest
    assert len(batches) >= 2


def test_the_measurement_sees_windows_that_go_through_all_at_once(network):
    few, all_of_them = (peak_of(lambda n=n: evaluate(network, n)) for n in (None, 1000))
    assert all_of_them > 1.25 * few


def test_memory_does_not_grow_with_the_number_of_windows():
    """5 x 7 windows, or 33 x 49 of the same size; they are two times 48 kB at once."""
    image, peaks = torch.rand(1, 3, 128, 160), []
    for stride, windows in ((16, 35), (2, 33 * 49)):
        boxes = window_boxes((128, 160), (64, 64), (stride, stride))
        assert len(boxes) == windows
        peaks.append(peak_of(lambda n=stride: slide_logits(torch.exp, image, (64, 64), (n, n), 2)))
    assert peaks[1] <= 1.02 * peaks[0]
