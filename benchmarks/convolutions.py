"""Convolutions on a CPU: torch's own against the ways of `mmseg/models/layers/convolution.py`.

OMP_NUM_THREADS=1 python benchmarks/convolutions.py

CPU milliseconds of forward and backward on channels-last maps, the least of interleaved runs.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from mmseg.models.layers import Conv2d, convolution, plain_convolutions  # noqa: E402

SIDES = (8, 16, 32, 64, 128)  # of a map of two images
WIDTHS = ((19, 256), (32, 64), (64, 64), (256, 64), (256, 256), (1024, 256))  # Winograd
DILATIONS = (6, 12, 18)  # 1024 channels
POINTWISE = ((256, 19), (256, 256), (1024, 256))


def layers() -> dict[str, Conv2d]:
    """Return what is measured."""
    wide = {f"3×3, {a} → {b}": Conv2d(a, b, 3, padding=1) for a, b in WIDTHS}
    points = {f"1×1, {a} → {b}": Conv2d(a, b, 1) for a, b in POINTWISE}
    dilated: dict[str, Any] = {
        f"depth-wise 3×3 of 1024, dilation {d}": Conv2d(
            1024, 1024, 3, padding=d, dilation=d, groups=1024
        )
        for d in DILATIONS
    }
    return {**wide, **points, **dilated}


def milliseconds(layer: Conv2d, x: torch.Tensor, grad: torch.Tensor) -> float:
    """Return the CPU time of a forward and a backward pass."""
    start = time.process_time()
    layer(x).backward(grad)
    return 1e3 * (time.process_time() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    options = parser.parse_args(arguments)
    convolution.LEAST_CHANNELS, convolution.MOST_PADDED = 1, float("inf")
    print("| layer | map | torch's | own | own / torch's |\n|---|---|---:|---:|---:|")
    for name, layer in layers().items():
        for side in options.sides:
            x = torch.randn(2, layer.in_channels, side, side).to(memory_format=torch.channels_last)
            x.requires_grad_()
            grad = torch.randn_like(layer(x))
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(options.runs + 1):
                for is_plain, values in times.items():
                    with plain_convolutions() if is_plain else nullcontext():
                        values.append(milliseconds(layer, x, grad))
            plain, own = (min(values[1:]) for values in times.values())
            cells = (name, f"{side}×{side}", f"{plain:.2f}", f"{own:.2f}", f"{own / plain:.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
