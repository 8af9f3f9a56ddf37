"""Convolutions on a CPU: torch's own against the ways of `mmseg/models/layers/convolution.py`.

OMP_NUM_THREADS=1 python benchmarks/convolutions.py

CPU milliseconds of forward and backward on maps of two images, the least of runs in turns.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from mmseg.models.layers import Conv2d, convolution, plain_convolutions  # noqa: E402

SIDES = (16, 32, 64, 128)
WIDTHS = ((32, 64), (64, 64), (256, 64), (256, 256), (1024, 256))
DILATIONS = (6, 12, 18)
BOUNDS = ("LEAST_CHANNELS", "LEAST_PIXELS", "LEAST_PRODUCTS", "LEAST_SIDE")  # of `convolution.py`
WAYS = {  # layout, whether torch's own
    "torch, contiguous": (torch.contiguous_format, True),
    "torch, channels-last": (torch.channels_last, True),
    "own, channels-last": (torch.channels_last, False),
}


def layers() -> dict[str, Conv2d]:
    """Return what is measured."""
    dense = {f"3×3, {a} → {b}": Conv2d(a, b, 3, padding=1) for a, b in WIDTHS}
    return dense | {
        f"depth-wise 3×3, 1024, dilation {d}": Conv2d(
            1024, 1024, 3, padding=d, dilation=d, groups=1024
        )
        for d in DILATIONS
    }


def milliseconds(layer: Conv2d, x: torch.Tensor, grad: torch.Tensor, is_plain: bool) -> float:
    """Return the CPU time of a forward and a backward pass."""
    with plain_convolutions() if is_plain else nullcontext():
        start = time.process_time()
        layer(x).backward(grad)
        return 1e3 * (time.process_time() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; the ways are taken for small layers and maps, too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    options = parser.parse_args(arguments)
    for bound in BOUNDS:
        setattr(convolution, bound, 1)
    print(f"| layer | map | {' | '.join(WAYS)} |\n|---|---|{'---:|' * len(WAYS)}")
    for name, layer in layers().items():
        for side in options.sides:
            images = torch.randn(2, layer.in_channels, side, side)
            ones = torch.ones(2, layer.out_channels, side, side)
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(options.runs + 1):  # the first run allocates
                for way, (layout, is_plain) in WAYS.items():
                    x = images.to(memory_format=layout).detach().requires_grad_()
                    grad = ones.to(memory_format=layout)
                    times[way].append(milliseconds(layer, x, grad, is_plain))
            cells = " | ".join(f"{min(values[1:]):.1f}" for values in times.values())
            print(f"| {name} | {side}×{side} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
