"""Ways to run the dilated depth-wise convolutions of DAFormer's head on a CPU, against each other.

As the head does it, the map is made contiguous once for all branches. Others: once per branch; not
at all (the map is channels-last); or as sub-images, a convolution without dilation on the
interlaced parts of the map. One line per size of the crop: a whole DAFormer step with MiT-B0, or,
with --alone, an ASPP layer. Seconds of CPU time, which other work on the machine hardly changes;
the least of interleaved runs.

OMP_NUM_THREADS=1 python benchmarks/dilated_convolution.py
. tools/environment.sh && OMP_NUM_THREADS=1 python benchmarks/dilated_convolution.py

The second keeps freed memory, which changes what wins.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from training_step import build, random_batch, random_material  # noqa: E402

from mmseg.config import load_config  # noqa: E402
from mmseg.engine import build_optimizer  # noqa: E402
from mmseg.models.decode_heads.aspp_layer import ASPPLayer  # noqa: E402

WIDTH, DILATIONS, BATCH, STRIDE = 256, (1, 6, 12, 18), 2, 4
CPU, BN = torch.device("cpu"), {"type": "BN"}


def plain(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return conv(x)."""
    return nn.Conv2d.forward(conv, x)


def contiguous(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return conv(x), computed on a contiguous map."""
    return plain(conv, x.contiguous())


def sub_images(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return conv(x): its d·d interlaced sub-images side by side, a line of zeros between them."""
    (n, c, height, width), d = x.shape, conv.dilation[0]
    rows, columns = -(-height // d) + 1, -(-width // d) + 1
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, columns * d - width, 0, rows * d - height))
    x = x.view(n, rows, d, columns, d, c).transpose(1, 2).transpose(3, 4)
    x = x.reshape(n, d * rows, d * columns, c).permute(0, 3, 1, 2)
    x = F.conv2d(x, conv.weight, conv.bias, padding=1, groups=c).permute(0, 2, 3, 1)
    x = x.reshape(n, d, rows, d, columns, c).transpose(1, 2).transpose(3, 4)
    x = x.reshape(n, rows * d, columns * d, c)[:, :height, :width]
    return x.contiguous().permute(0, 3, 1, 2)


# Whether the layer makes the map contiguous, and what each convolution does then.
WAYS: dict[str, tuple[bool, Callable[[nn.Conv2d, Tensor], Tensor]]] = {
    "contiguous once": (True, plain),
    "contiguous per branch": (False, contiguous),
    "channels-last": (False, plain),
    "sub-images": (False, sub_images),
}


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--alone", action="store_true", help="the layer without the networks")
    options = parser.parse_args()
    print(f"| threads | crop | {' | '.join(options.ways)} |")
    print("|---:|---:|" + "---:|" * len(options.ways), flush=True)
    for size in options.sizes:
        module, run = layer(size) if options.alone else step(size)
        least = measure(module, run, options.ways, options.runs)
        cells = " | ".join(f"{seconds:.3g} s" for seconds in least.values())
        print(f"| {torch.get_num_threads()} | {size}×{size} | {cells} |", flush=True)


def layer(size: int) -> tuple[nn.Module, Callable[[], object]]:
    """Return an ASPP layer as wide as published, and what goes forward and backward through it."""
    module = ASPPLayer(4 * WIDTH, WIDTH, True, DILATIONS, False, norm_cfg=BN)
    side = size // STRIDE
    x = torch.randn(BATCH, side, side, 4 * WIDTH).permute(0, 3, 1, 2).requires_grad_()
    return module, lambda: module(x).sum().backward()


def step(size: int) -> tuple[nn.Module, Callable[[], object]]:
    """Return a DAFormer with a head as wide as published, and what takes a training step."""
    cfg = load_config(ROOT / "configs/demo/daformer")
    head = cfg.model.decode_head
    head.channels = head.decoder_params.embed_dims = WIDTH
    method: Any = build(cfg, None, lambda count: random_material(count, (size, size)))
    optimizer = build_optimizer(method, cfg.optimizer)
    batch = random_batch(BATCH, (size, size), CPU)
    return method, lambda: method.train_step(batch, optimizer, 1)


def measure(
    module: nn.Module, run: Callable[[], object], ways: list[str], runs: int
) -> dict[str, float]:
    """Return the least CPU seconds of each way, after a run of each that does not count."""
    least = dict.fromkeys(ways, float("inf"))
    for number in range(runs + 1):
        for name in ways:
            choose(module, *WAYS[name])
            start = time.process_time()
            run()
            if number > 0:
                least[name] = min(least[name], time.process_time() - start)
    return least


def choose(module: nn.Module, is_contiguous: bool, way: Callable[..., Tensor]) -> None:
    """Let the ASPP layers of a module work in one of the ways."""
    for part in module.modules():
        if isinstance(part, ASPPLayer):
            part.is_separable = is_contiguous
        elif isinstance(part, nn.Conv2d) and part.groups > 1 and part.dilation[0] > 1:
            part.forward = partial(way, part)


if __name__ == "__main__":
    main()
