"""Every reader of weights × every damage: a sentence that names the file, and what is wrong."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from line_method import Line, batches, make_trainer
from torch import Tensor, nn

from mmseg.engine.checkpoint import CheckpointError, load_start, load_weights, read_checkpoint
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.uda.depthmetric.bank import load_bank
from mmseg.system.errors import ConfigError
from mmseg.system.weight_files import write_safetensors
from tools import publish_checkpoint

NAME = "model.b.weight"
REFUSED = (CheckpointError, ConfigError, ValueError, SystemExit)
READERS: dict[str, Callable[[Path], object]] = {
    "read": read_checkpoint,
    "test": lambda path: load_weights(Net(), path),
    "start": lambda path: load_start(Net(), path),
    "publish": lambda path: publish_checkpoint.main([str(path), f"{path}.out"]),
    "pretrained": lambda path: load_pretrained(Wrapped(), path, "fetch it"),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 5)


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Net()


def changed(change: Callable[[Tensor], Any]) -> Callable[[Path], None]:
    """Return what writes a checkpoint in which one weight is changed."""

    def write(path: Path) -> None:
        state = {f"model.{key}": value for key, value in Net().state_dict().items()}
        torch.save({"state_dict": {**state, NAME: change(state[NAME])}}, path)

    return write


def filled(value: float) -> Callable[[Tensor], Tensor]:
    return lambda weight: weight.index_fill(0, torch.tensor([1]), value)


def flipped(path: Path) -> None:
    changed(lambda weight: torch.full_like(weight, 7.5))(path)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<f", 7.5)) + 3] ^= 64
    path.write_bytes(data)


def cut_off(path: Path) -> None:
    changed(lambda weight: weight)(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def compressed(path: Path) -> None:
    """As small as an archive that unpacks to gigabytes."""
    changed(torch.zeros_like)(path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "NaN": (changed(filled(float("nan"))), rf"{NAME} \(NaN or inf"),
    "infinite": (changed(filled(float("-inf"))), rf"{NAME} \(NaN or inf"),
    "complex": (changed(lambda w: w + 1j), rf"{NAME} \(complex numbers"),
    "sparse": (changed(lambda w: w.to_sparse()), rf"{NAME} \(a sparse tensor"),
    "flipped": (flipped, rf"is damaged, the tensor '[a-z_.]*{NAME}'"),
    "cut off": (cut_off, "cut off or damaged"),
    "compressed": (compressed, "compressed|cut off or damaged|PytorchStreamReader"),
    "zeros": (lambda path: path.write_bytes(bytes(99)) and None, "begins with zeros"),
    "empty": (Path.touch, "it is empty"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("reader", READERS)
def test_damaged_weights_are_refused_by_name(reader: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    write, reason = DAMAGES[damage]
    write(path)
    with pytest.raises(REFUSED, match=reason) as caught:
        READERS[reader](path)
    assert str(path) in str(caught.value)
    assert not Path(f"{path}.out").exists()


@pytest.mark.parametrize("reader", READERS)
def test_damaged_safetensors_are_refused_by_name(reader: str, tmp_path: Path) -> None:
    path, state = tmp_path / "some.safetensors", Net().state_dict()
    spoiled = {"b.weight": filled(float("nan"))(state["b.weight"])}
    write_safetensors(path, {f"model.{k}": v for k, v in {**state, **spoiled}.items()}, {})
    whole = path.read_bytes()
    for content, reason in (
        (whole, rf"{NAME} \(NaN or inf"),
        (whole[:-1], "cut off"),
        (b"", "cut off"),
        (whole.replace(b'"meta":"{}"', b'"meta":"{x"'), "did not write it"),
    ):
        path.write_bytes(content)
        with pytest.raises(REFUSED, match=reason) as caught:
            READERS[reader](path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("reader", ["test", "start", "pretrained"])
def test_weights_of_another_kind_are_named(reader: str, tmp_path: Path) -> None:
    changed(lambda weight: weight.int())(tmp_path / "some.pth")
    with pytest.raises(REFUSED, match=r"b\.weight torch\.int32 instead of torch\.float32"):
        READERS[reader](tmp_path / "some.pth")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iteration", float("inf")),
        ("iteration", -5),
        ("progress", [1, 2]),
        ("losses", ["x"]),
        ("meta", [1]),
        ("optimizer", 5),
        ("world_size", 0),
        ("state_dict", {5: torch.ones(2)}),
    ],
)
def test_records_that_no_run_saves_are_named(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    torch.save({"state_dict": {"model.a": torch.ones(2)}, key: value}, path)
    with pytest.raises(CheckpointError, match=rf"{key}.*{path}.*expected"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda moment: torch.ones(7), r"exp_avg \(\(7,\) instead of"),
        (lambda moment: moment * float("nan"), r"exp_avg \(NaN or infinite"),
    ],
)
def test_an_optimizer_state_that_does_not_fit_is_named(
    spoil: Callable[[Tensor], Tensor], reason: str, tmp_path: Path
) -> None:
    """Kernels for many parameters at once would read beyond it."""
    make_trainer(tmp_path, Line(), checkpoint_interval=2, max_iters=2).run(batches(0, 2))
    content = torch.load(tmp_path / "iter_2.pth")
    moments = content["optimizer"]["state"][0]
    moments["exp_avg"] = spoil(moments["exp_avg"])
    torch.save(content, tmp_path / "spoiled.pth")
    with pytest.raises(CheckpointError, match=rf"spoiled\.pth.*state\.0\.{reason}"):
        make_trainer(tmp_path / "b", Line()).resume(tmp_path / "spoiled.pth")


def test_a_bank_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gta_3_distribution.pth"
    torch.save(torch.ones(3, 19, 256), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{path}.*cut off or damaged"):
        load_bank(path, "gta")
