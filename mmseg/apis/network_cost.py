"""What a network costs: parameters and floating-point operations, part by part.

Legend: H×W pixels of the test image, h×w pixels of a window of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmseg.config import Config
from mmseg.config.run_config import ConfigParts, read_parts
from mmseg.config.sections import each
from mmseg.datasets.pipelines.fields import as_scales
from mmseg.evaluation.report import text_table
from mmseg.models import build_segmentor
from mmseg.models.layers import plain_convolutions
from mmseg.models.segmentors import window_boxes
from mmseg.system.errors import ConfigError

GIGA = 10**9
MEGA = 10**6
ROOT = "network"
REST = "decode_head"  # what predicts; resizing and the like cost no counted operations
ATTENTION = "decode_head.scale_attention"
AUXILIARY = "auxiliary_head"


@dataclass(frozen=True)
class PartCost:
    """A part of a network.

    Attributes:
        name: its attribute in the segmentor.
        parameters: how many numbers it has that are trained or frozen; no buffers.
        flops: of one window; a multiply-add counts as two.
        is_training_only: whether a prediction leaves it out; its flops are then not in the sum.
    """

    name: str
    parameters: int
    flops: int
    is_training_only: bool = False


@dataclass(frozen=True)
class NetworkCost:
    """A network, counted once: without teachers and other copies that a method holds.

    Attributes:
        image: (H, W) of the test image.
        window: (h, w) that goes through the network at once, as `test_cfg` says.
        windows: how many of them cover the image.
        device: where the forward pass was counted; "meta" computes nothing.
    """

    image: tuple[int, int]
    window: tuple[int, int]
    windows: int
    device: str
    parts: Sequence[PartCost]

    @property
    def parameters(self) -> int:
        """Of all parts."""
        return sum(part.parameters for part in self.parts)

    @property
    def window_flops(self) -> int:
        """Of a prediction on one window."""
        return sum(part.flops for part in self.parts if not part.is_training_only)

    @property
    def image_flops(self) -> int:
        """Of a prediction on the whole image."""
        return self.windows * self.window_flops


def bare_network(model: Any, test_cfg: Any = None, device: str = "meta") -> nn.Module:
    """Build the network of a `model` section in eval mode, without reading weights."""
    with torch.device(device):
        return build_segmentor(model, test_cfg=test_cfg).eval()


def network_cost(cfg: Config, size: Sequence[int] | None = None) -> NetworkCost:
    """Count what the network of a config costs, on an image of `size` (H, W).

    Without `size`, the image is the one that the config's test pipeline makes. `ConfigError` if
    neither says one.
    """
    parts = read_parts(cfg)
    height, width = size or test_size(cfg)
    try:
        return _cost(parts, (height, width), "meta")
    except RuntimeError:  # a network whose forward pass reads values has to compute them
        return _cost(parts, (height, width), "cpu")


def _cost(parts: ConfigParts, image: tuple[int, int], device: str) -> NetworkCost:
    model = bare_network(parts.model, parts.test_cfg, device)
    window, windows = _windows(model, image)
    return NetworkCost(image, window, windows, device, count_parts(model, window))


def count_parts(model: Any, window: tuple[int, int]) -> list[PartCost]:
    """Count the parts in a prediction on a window, and what is only trained on its features."""
    img = torch.zeros(1, 3, *window, device=next(model.parameters()).device)
    predicted = _flops(model, lambda: model.encode_decode(img, []))
    own = list(_named_parts(model))
    flops = {name: predicted.get(name, 0) for name, _ in own}
    flops[REST] = predicted[""] - sum(count for name, count in flops.items() if name != REST)
    parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in own}
    parameters[REST] -= parameters.get(ATTENTION, 0)
    heads = model.auxiliary_heads().values()
    return [
        PartCost(name, parameters[name], flops[name])
        if name != AUXILIARY
        else PartCost(name, parameters[name], _trained_flops(model, heads, img), True)
        for name, _ in own
    ]


def test_size(cfg: Config) -> tuple[int, int]:
    """Return (H, W) of the largest image that the test pipeline of a config makes."""
    data = read_parts(cfg).data
    for section in (*each(data.test), *each(data.val)):
        for step in section.get("pipeline") or ():
            scale = step.get("img_scale")
            if scale:
                width, height = max(as_scales(scale), key=lambda pair: pair[0] * pair[1])
                return height, width
    raise ConfigError(
        "expected a test pipeline with img_scale in data.test or data.val, got none. Add --size "
        "HEIGHT WIDTH."
    )


def as_text(cost: NetworkCost) -> str:
    """Return a table of the parts, and lines that say what was counted."""
    (rows, columns), (height, width) = cost.image, cost.window
    names = [f"{p.name} (training only)" if p.is_training_only else p.name for p in cost.parts]
    counts = [part.parameters for part in cost.parts] + [cost.parameters]
    flops = [part.flops for part in cost.parts] + [cost.window_flops]
    table = {
        "part": [*names, "all"],
        "parameters": [f"{count / MEGA:.3f} M" for count in counts],
        "GFLOPs of a window": [f"{count / GIGA:.2f}" for count in flops],
    }
    lines = [
        text_table(table),
        f"One forward pass of one window of {width}x{height} pixels; an image of {columns}x{rows} "
        f"takes {cost.windows}: {cost.image_flops / GIGA:.2f} GFLOPs.",
        "A multiply-add counts as two operations (in mmsegmentation's get_flops.py as one).",
        "Counted are convolutions, matrix products and attention, once for each network: no "
        "teacher and no other copies.",
    ]
    if cost.device != "meta":
        lines.append("This network computes with values, so the pass was run on the CPU.")
    return "\n".join(lines)


def as_json(cost: NetworkCost, config: str) -> dict[str, Any]:
    """Return everything as plain values: the attributes of `NetworkCost`, and its sums."""
    sums = {name: getattr(cost, name) for name in ("parameters", "window_flops", "image_flops")}
    return {"config": config, **asdict(cost), **sums}


class _Prediction(nn.Module):
    """A network whose call is a prediction, so that the counter knows its parts by name."""

    def __init__(self, network: nn.Module, predict: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.predict = network, predict

    def forward(self, *inputs: Any) -> Any:
        return self.predict(*inputs)


def _windows(model: Any, image: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Return (h, w) of a window, and how many cover the image."""
    cfg = model.test_cfg
    if cfg["mode"] != "slide":
        return image, 1
    boxes = window_boxes(image, tuple(cfg["crop_size"]), tuple(cfg["stride"]))
    top, bottom, left, right = boxes[0]
    return (bottom - top, right - left), len(boxes)


def _trained_flops(model: Any, heads: Any, img: Tensor) -> int:
    with torch.no_grad():
        features = model.extract_feat(img)
    return _flops(model, lambda: [head.forward_test(features) for head in heads])[""]


def _named_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts that cost something, and HRDA's attention beside the head that has it."""
    for name, module in model.named_children():
        yield name, module
        attention = getattr(module, "scale_attention", None)
        if attention is not None:
            yield f"{name}.scale_attention", attention


def _flops(model: nn.Module, task: Callable[[], Any]) -> dict[str, int]:
    """Return the operations of a task by the names of modules that it calls, of all by ""."""
    whole = _Prediction(model, task)
    # The counter knows no fused attention of a CPU; the plain one is matrix products.
    attention = sdpa_kernel(SDPBackend.MATH)
    counter = FlopCounterMode(display=False)
    with counter, attention, plain_convolutions(), torch.no_grad():
        whole()
    prefix = f"{type(whole).__name__}.{ROOT}."
    named = {str(name): sum(own.values()) for name, own in counter.get_flop_counts().items()}
    parts = {name.removeprefix(prefix): n for name, n in named.items() if name.startswith(prefix)}
    return {**parts, "": counter.get_total_flops()}
