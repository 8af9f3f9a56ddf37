"""`Conv2d` and the ways that it takes on a CPU, against torch's own convolution."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg.models.layers import Conv2d, convolution, plain_convolutions, uses_plain_convolutions
from mmseg.models.layers.interlacing import dilated_depthwise, interlaced, woven
from mmseg.models.layers.winograd import ROWS, conv3x3

LAST = torch.channels_last
SIZES = [(1, 1), (2, 3), (5, 4), (7, 8), (2 * ROWS - 1, 3), (2 * ROWS + 1, 2), (4 * ROWS + 2, 5)]
HALVES = (torch.bfloat16, torch.half)


def normal(*shape, layout=torch.contiguous_format):
    """Return random float64 numbers."""
    return torch.randn(shape, dtype=torch.float64).to(memory_format=layout)


def check(function, right, *inputs):
    """Compare outputs and the gradients of all inputs: less than 1e-12 apart."""
    torch.manual_seed(0)
    found = []
    for way in (function, right):
        own = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
        y = way(*own)
        y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape))
        found.append([y.detach(), *(x.grad for x in own)])
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_winograd_s_way_computes_the_convolution_and_its_gradients(size, layout):
    inputs = normal(2, 3, *size, layout=layout), normal(5, 3, 3, 3)
    check(conv3x3, lambda x, weight: F.conv2d(x, weight, padding=1), *inputs)
    assert conv3x3(*inputs).is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("dilation", [2, 3, 6])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_interlaced_images_give_the_dilated_convolution_and_its_gradients(size, kernel, dilation):
    inputs = normal(2, 5, *size, layout=LAST), normal(5, 1, kernel, kernel), normal(5)
    options = {"padding": dilation * (kernel // 2), "dilation": dilation, "groups": 5}
    check(
        lambda x, weight, bias: dilated_depthwise(x, weight, bias, dilation),
        lambda x, weight, bias: F.conv2d(x, weight, bias, **options),
        *inputs,
    )
    assert dilated_depthwise(*inputs, dilation).is_contiguous(memory_format=LAST)


def test_an_interlaced_image_has_the_pixels_that_lie_apart_by_the_dilation():
    x = torch.randn(2, 3, 9, 11)
    parts = interlaced(x, 4)
    assert parts.shape == (2 * 4 * 4, 3, 3, 3)
    assert torch.equal(parts[16 + 4 * 1 + 2, :, :2], x[1, :, 1::4, 2::4])
    assert torch.equal(woven(parts, 4, (9, 11)), x)


LAYERS = {  # way -> what is special, of a 3×3 convolution with padding 1
    "winograd": [{}, {"bias": False}],
    "interlaced": [{"padding": d, "dilation": d, "groups": 5} for d in (2, 4)],
    "": [
        {"padding": 0}, {"stride": 2}, {"kernel_size": 1, "padding": 0}, {"kernel_size": 2},
        {"padding_mode": "reflect"}, {"kernel_size": (3, 1), "padding": (1, 0)},
        {"padding": "same"}, {"padding": 2, "dilation": 2}, {"groups": 5},
        {"padding": 5, "dilation": 5, "groups": 5},
        {"padding": (2, 1), "dilation": (2, 1), "groups": 5},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("way", "special"), [(way, special) for way, all_ in LAYERS.items() for special in all_]
)
def test_a_layer_takes_the_way_that_suits_it(way, special, monkeypatch):
    """The map has 10 rows: one less than images of 3 rows, interlaced by 5, would need."""
    taken = []
    for name, function in (("winograd", conv3x3), ("interlaced", dilated_depthwise)):

        def noted(*inputs, name=name, function=function):
            taken.append(name)
            return function(*inputs)

        monkeypatch.setattr(convolution, function.__name__, noted)
    for bound in ("LEAST_CHANNELS", "LEAST_PIXELS", "LEAST_PRODUCTS"):
        monkeypatch.setattr(convolution, bound, 1)
    layer = Conv2d(5, 10 if way == "winograd" else 5, **{"kernel_size": 3, "padding": 1, **special})
    x = normal(2, 5, 10, 12, layout=LAST)
    layer.double()
    check(layer, lambda x: nn.Conv2d.forward(layer, x), x)
    assert taken == [way] * bool(way)
    with plain_convolutions():
        layer(x)
    assert len(taken) == bool(way)


def test_small_layers_and_contiguous_maps_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(convolution, "conv3x3", None)
    for channels, side, layout in ((32, 64, LAST), (64, 16, LAST), (256, 15, LAST)):
        Conv2d(channels, 64, 3, padding=1)(
            torch.zeros(2, channels, side, side).to(memory_format=layout)
        )
    with pytest.raises(TypeError):
        Conv2d(256, 256, 3, padding=1)(torch.zeros(2, 256, 16, 16).to(memory_format=LAST))
    Conv2d(256, 256, 3, padding=1)(torch.zeros(2, 256, 16, 16))


def test_torch_s_own_convolutions_serve_where_the_ways_do_not():
    x = torch.randn(2, 3, 5, 8)
    assert not uses_plain_convolutions(x)
    assert not uses_plain_convolutions(x.double())
    assert all(
        map(uses_plain_convolutions, (x.to("meta"), x[:0], *(x.to(half) for half in HALVES)))
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert uses_plain_convolutions(x)
    with plain_convolutions():
        assert uses_plain_convolutions(x)


def test_single_precision_loses_about_as_much():
    """Winograd's way has 1.7 times the rounding error of the plain one for many channels."""
    torch.manual_seed(0)
    layer = Conv2d(256, 64, 3, padding=1)
    x = torch.randn(2, 256, 33, 34).to(memory_format=LAST)
    exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    errors = []
    for context in (nullcontext(), plain_convolutions()):
        with context:
            errors.append((layer(x) - exact).norm() / exact.norm())
    assert 0 < errors[1] < errors[0] < 1e-6
