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


class Sided(nn.Module):
    """A segmentor of two classes whose logits are not the same for a mirrored image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.passes = nn.BatchNorm2d(3), 0
        self.register_buffer("side", torch.tensor([2.0, -1.0, 0.5, 3.0]))

    def generate_pseudo_label(self, image: Tensor, metas: list[object]) -> Tensor:
        self.passes += 1
        first = self.norm(image).sum(1) * self.side  # (B, H, W)
        return torch.stack([first, -first], dim=1)


def test_mirrored_teacher_labels_with_the_mean_of_both_probabilities() -> None:
    """The second pass is turned back; both move the statistics of batch norm."""
    image = torch.from_numpy(arr("mirrored", (2, 3, 5, 4)))
    network, other = Sided(), Sided()
    pseudo = Teacher(network, 0.9, 0.8, is_mirrored=True).label(image, [])
    plain = other.generate_pseudo_label(image, []).softmax(1)
    mirrored = other.generate_pseudo_label(image.flip(3), []).softmax(1).flip(3)
    probability, label = ((plain + mirrored) / 2).max(1)
    assert torch.equal(pseudo.label, label)
    assert torch.equal(pseudo.confident, probability >= 0.8)
    assert 0 < pseudo.confident.float().mean() < 1
    assert pseudo.weight.unique().tolist() == [pseudo.confident.float().mean().item()]
    assert not torch.equal(label, plain.argmax(1))
    assert network.passes == 2
    assert torch.equal(network.norm.running_mean, other.norm.running_mean)


def test_mirrored_teacher_starts_with_the_students_buffers() -> None:
    for is_mirrored in (False, True):
        student, network = Sided(), Sided()
        student.norm.running_mean.fill_(7)
        teacher = Teacher(network, 0.9, 0.8, is_mirrored)
        teacher.update(student, 0)
        assert (network.norm.running_mean == 7).all() == is_mirrored
        student.norm.running_mean.fill_(8)
        teacher.update(student, 1)
        assert not (network.norm.running_mean == 8).any()
