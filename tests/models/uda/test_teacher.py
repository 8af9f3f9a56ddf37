"""The EMA teacher against the recorded reference."""

import json
from pathlib import Path

import numpy as np
import torch
from golden_init import arr, init_module
from torch import Tensor, nn

from mmseg.models.layers import DropPath
from mmseg.models.uda.teacher import Teacher, teacher_alpha

E = Path(__file__).parents[2] / "golden" / "E"
META = json.loads((E / "E.json").read_text())
STORED = np.load(E / "E.npz")


class Small(nn.Module):
    """The network of golden E5."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(3, 4))
        self.b = nn.Parameter(torch.zeros(5))
        self.g = nn.Parameter(torch.zeros(()))
        self.bn = nn.BatchNorm2d(3)


class Fixed(nn.Module):
    """A segmentor whose logits are given."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.dropout, self.path, self.norm = nn.Dropout2d(), DropPath(0.5), nn.BatchNorm2d(2)

    def generate_pseudo_label(self, image: Tensor, metas: list[object]) -> Tensor:
        return self.logits


def test_teacher_follows_the_recorded_sequence() -> None:
    network, student = Small().double(), Small().double()
    init_module(network, "E5:ema:")
    buffers = {k: v.clone() for k, v in network.named_buffers()}
    teacher = Teacher(network, 0.999, 0.9)
    for step in META["E5"]["seq"]:
        init_module(student, f"E5:model{step['iter']}:")
        teacher.update(student, step["iter"])
        assert teacher_alpha(step["iter"], 0.999) == step["alpha_teacher"]
        for key, value in network.state_dict().items():
            expected = torch.from_numpy(STORED[f"E5_{step['iter']}_{key}"]).to(value.dtype)
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    assert all(torch.equal(v, buffers[k]) for k, v in network.named_buffers())
    assert not any(p.requires_grad for p in network.parameters())


def test_pseudo_labels_equal_the_recorded_ones() -> None:
    logits = 4 * torch.from_numpy(arr("E9:logits", (2, 19, 32, 40))).double()
    network = Fixed(logits)
    pseudo = Teacher(network, 0.9, META["E9"]["pseudo_threshold"]).label(
        torch.zeros(2, 3, 8, 8), []
    )
    assert torch.equal(pseudo.label.byte(), torch.from_numpy(STORED["E9_pl"]))
    large = np.unpackbits(STORED["E9_large"]).reshape(2, 32, 40).astype(bool)
    assert torch.equal(pseudo.confident, torch.from_numpy(large))
    assert pseudo.weight.shape == (2, 32, 40)
    expected = torch.from_numpy(STORED["E9_pw"]).double()
    torch.testing.assert_close(pseudo.weight.unique(), expected, rtol=1e-6, atol=0)
    assert network.norm.training
    assert not network.dropout.training
    assert not network.path.training
