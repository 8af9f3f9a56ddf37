"""Recordings of VFM-UDA's and VFM-UDA++'s networks (golden V), and the small networks for them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_init import arr, values
from torch import Tensor, nn

from mmseg.models import BACKBONES, build_segmentor
from mmseg.system.vfm_names import released_names

RECORDS = Path(__file__).parents[1] / "golden" / "V"
CASES: dict[str, Any] = json.loads((RECORDS / "adapter.json").read_text())["cases"]
KINDS = (torch.float64, torch.float32)
NAMES = {torch.float64: "f64", torch.float32: "f32"}
NOISE = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-4, 1e-4)}
GRADIENT_NOISE = {torch.float64: (1e-6, 1e-9), torch.float32: (1e-3, 1e-5)}
TINY_VIT = {"img_size": 98, "embed_dim": 128, "depth": 8, "num_heads": 2}
TINY = {"type": "TIMMBackbone", "model_name": "vit_small_patch14_dinov2", "model_kwargs": TINY_VIT}

with np.load(RECORDS / "adapter.npz") as stored:
    ARRAYS = dict(stored)


def adapter(vit: Mapping[str, Any] = TINY, **options: Any) -> Any:
    return BACKBONES.build({"type": "ViTAdapter", "vit": vit, "inner_size": None, **options})


def segmentor(head: str, backbone: Mapping[str, Any], channels: int = 128, **parts: Any) -> Any:
    decode_head = {"type": head, "in_channels": channels, "num_classes": 19}
    parts = {"backbone": backbone, "decode_head": decode_head, **parts}
    return build_segmentor({"type": "EncoderDecoder", **parts})


def theirs(key: str) -> str:
    """Return the recorded name of a weight of a whole network."""
    return next(iter(released_names({key: None}))).removeprefix("network.")


def fill(network: nn.Module, prefix: str, name: Callable[[str], str] = str) -> Any:
    """Give a network the recorded weights; `name` makes recorded names of its own."""
    state = {
        key: torch.from_numpy(np.asarray(values(prefix + name(key), tuple(value.shape))))
        * (16 if name(key) == "out.weight" else 1)
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    return network


def picture(name: str, shape: list[int], kind: torch.dtype) -> Tensor:
    return torch.from_numpy(arr(name, shape)).to(kind)


def assert_recorded(case: str, name: str, found: Tensor, scale: float = 1) -> None:
    """Compare some of the values; of numbers of about `scale`, errors may be as much larger."""
    record = CASES[case]["out"][name]
    assert list(found.shape) == record["shape"]
    expected = ARRAYS[f"{case}/{name}/{NAMES[found.dtype]}"]
    some = found.detach().flatten()[:: record["step"]]
    relative, absolute = NOISE[found.dtype]
    noise = (relative, absolute * scale)
    np.testing.assert_allclose(some, expected, *noise, err_msg=f"{case} {name}")


def assert_gradients(network: nn.Module, recorded: Mapping[str, Any], name: Any, kind: Any) -> None:
    """Compare the norm of every gradient; None is recorded where there is none."""
    found = {name(k): p.grad for k, p in network.named_parameters()}
    assert found.keys() == recorded.keys()
    for key, gradient in found.items():
        if recorded[key] is None:
            assert gradient is None, key
        else:
            norm = float(gradient.norm())
            np.testing.assert_allclose(norm, recorded[key], *GRADIENT_NOISE[kind], err_msg=key)
