"""The virtual device does what a GPU does, as far as tests rely on it."""

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from virtual_device import QUEUED, READ, UPLOAD, VirtualDevice

CUDA = torch.device("cuda", 0)


@pytest.fixture
def device() -> Iterator[VirtualDevice]:
    with VirtualDevice() as device:
        yield device


def numbers(*shape: int) -> Tensor:
    """Return 1, 2, … on the device."""
    return torch.arange(1.0, 1 + int(np.prod(shape)), device="cuda").view(shape)


def gradient(x: Tensor) -> Any:
    leaf = x.clone().requires_grad_()
    torch.where(leaf[:, 1:] > 2, leaf[:, :2], 0.0).square().max(1).values.sum().backward()
    return leaf.grad


def parameter_with_new_data(x: Tensor) -> Tensor:
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.data = x
    return parameter


ON_THE_DEVICE: dict[str, Callable[[Tensor], Tensor]] = {
    "result": lambda x: x + 1,
    "result with a number of the host": lambda x: x * torch.tensor(2.0),
    "view": lambda x: x[1:].T,
    "changed in place": lambda x: x.add_(1).relu_(),
    "view of the detached": lambda x: x.detach().flatten(),
    "part of several": lambda x: x.split(1)[1],
    "copy": lambda x: copy.deepcopy(x),
    "another type": lambda x: x.to(torch.float16),
    "made like it": lambda x: torch.zeros_like(x),
    "new from it": lambda x: x.new_zeros(3),
    "new from data": lambda x: x.new_tensor([1.0]),
    "array": lambda x: torch.as_tensor(np.ones(2), device=x.device),
    "drawn": lambda x: torch.rand(3, device="cuda"),
    "in another function of torch": lambda x: F.one_hot(x.long(), 7),
    "gradient": gradient,
    "parameter with new data": parameter_with_new_data,
    "moved module": lambda x: nn.Linear(2, 2).cuda().weight,
    "moved buffer": lambda x: nn.BatchNorm2d(2).to("cuda:0").running_mean,
    "moved as another": lambda x: torch.ones(2).to(x),
    "pinned and sent": lambda x: torch.ones(2).pin_memory().to("cuda", non_blocking=True),
    "foreach": lambda x: torch._foreach_mul([x, x], 2.0)[0],
    "convolution": lambda x: nn.Conv2d(1, 1, 1).cuda()(x[None, None]),
}
ON_THE_HOST: dict[str, Callable[[Tensor], Tensor]] = {
    "made": lambda x: torch.zeros(3),
    "moved back": lambda x: x.cpu(),
    "made like it elsewhere": lambda x: torch.zeros_like(x, device="cpu"),
    "from an array": lambda x: torch.from_numpy(np.ones(3)),
    "copied to": lambda x: torch.empty(2, 3).copy_(x),
    "pinned": lambda x: torch.ones(3).pin_memory(),
}
PLACES = {**dict.fromkeys(ON_THE_DEVICE, CUDA), **dict.fromkeys(ON_THE_HOST, torch.device("cpu"))}


@pytest.mark.parametrize("way", PLACES)
def test_a_tensor_is_where_a_gpu_would_have_it(device: VirtualDevice, way: str) -> None:
    tensor = {**ON_THE_DEVICE, **ON_THE_HOST}[way](numbers(2, 3))
    assert tensor.device == PLACES[way]
    assert {tensor.is_cuda, device.holds(tensor), not tensor.is_cpu} == {way in ON_THE_DEVICE}


READS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(x.sum() > 0),
    "float": lambda x: float(x[0, 0]),
    "index": lambda x: range(5)[x[0, 0].long()],
    "format": lambda x: f"{x[0, 0]:.2f}",
    "list": lambda x: x.tolist(),
    "host": lambda x: x.cpu(),
    "host by name": lambda x: x.to("cpu", torch.float64),
    "copy": lambda x: torch.empty(2, 3).copy_(x),
    "hurried copy": lambda x: torch.empty(2, 3).copy_(x, non_blocking=True),
    "mask": lambda x: x[x > 2],
    "mask with values": lambda x: x.index_put_((x > 2,), x[0, 0]),
    "places": lambda x: (x > 2).nonzero(),
    "condition": lambda x: torch.where(x > 2),
    "selected": lambda x: x.masked_select(x > 2),
    "unique": lambda x: x.unique(),
    "counts": lambda x: torch.bincount(x.long().flatten()),
    "repeated": lambda x: x[0].repeat_interleave(x[0].long()),
    "equal": lambda x: torch.equal(x, x),
    "close": lambda x: torch.allclose(x, x),
    "synchronized": lambda x: torch.cuda.synchronize(),
    "event": lambda x: torch.cuda.Event().synchronize(),
}
UPLOADS: dict[str, Callable[[Tensor], Any]] = {
    "moved": lambda x: torch.ones(2).to("cuda"),
    "cuda": lambda x: torch.ones(2).cuda(),
    "made of data": lambda x: torch.tensor([1.0, 2.0], device="cuda"),
    "new from data": lambda x: x.new_tensor([1.0]),
    "copied": lambda x: x.copy_(torch.ones(2, 3)),
    "indices of the host": lambda x: x[torch.tensor([0, 1, 1])],
}
QUEUES: dict[str, Callable[[Tensor], Any]] = {
    "sent": lambda x: torch.ones(2).to("cuda", non_blocking=True),
    "copied": lambda x: x.copy_(torch.ones(2, 3).pin_memory(), non_blocking=True),
    "fetched": lambda x: torch.empty(2, 3, pin_memory=True).copy_(x, non_blocking=True),
}
NOTHING: dict[str, Callable[[Tensor], Any]] = {
    "computed": lambda x: (x @ x.T).softmax(1).max(1),
    "of a shape": lambda x: x[:, : x.shape[1] - 1].reshape(-1),
    "filled": lambda x: x.masked_fill(x > 2, 0.0),
    "mask filled": lambda x: x.__setitem__(x > 2, 0.0),
    "where": lambda x: torch.where(x > 2, x, 0.5),
    "one-hot": lambda x: F.one_hot(x.long(), 7),
    "gathered": lambda x: x.gather(1, x.long() % 3),
    "indexed": lambda x: x[x[:, 0].long() % 2],
    "repeated": lambda x: x[0].repeat_interleave(x[0].long(), output_size=6),
    "of the host": lambda x: torch.ones(3).tolist(),
    "already there": lambda x: x.to("cuda"),
}
KINDS = {READ: READS, UPLOAD: UPLOADS, QUEUED: QUEUES, "": NOTHING}


@pytest.mark.parametrize(("kind", "way"), [(k, w) for k, ways in KINDS.items() for w in ways])
def test_what_waits_for_a_gpu_is_recorded_and_nothing_else(
    device: VirtualDevice, kind: str, way: str
) -> None:
    x = numbers(2, 3)
    device.clear()
    KINDS[kind][way](x)
    assert [event.kind for event in device.events] == ([kind] if kind else [])


MIXTURES: dict[str, Callable[[Tensor], Any]] = {
    "sum": lambda x: x + torch.zeros(3),
    "list": lambda x: torch.stack([x.sum(), torch.tensor(0.0)]),
    "choice": lambda x: torch.where(x > 0, x, torch.zeros(1)),
    "number of the host": lambda x: torch.tensor(0.0).add_(x.sum()),
    "layer": lambda x: nn.Linear(3, 3)(x),
    "label": lambda x: F.cross_entropy(x, torch.zeros(2, dtype=torch.int64)),
    "index": lambda x: torch.ones(3)[x[:, 0].long()],
    "foreach": lambda x: torch._foreach_add([x, x], [x, torch.zeros(2, 3)]),
}


@pytest.mark.parametrize("way", MIXTURES)
def test_an_operator_on_both_devices_is_refused(device: VirtualDevice, way: str) -> None:
    with pytest.raises(RuntimeError, match=r"expected all tensors on one device, got .*cpu \("):
        MIXTURES[way](numbers(2, 3))


def test_an_array_is_refused(device: VirtualDevice) -> None:
    for ask in (Tensor.numpy, np.asarray):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            ask(numbers(2))


def test_the_address_of_a_freed_tensor_says_nothing() -> None:
    """Tensors made outside of the context are on the host wherever they lie."""
    device = VirtualDevice()
    with device:
        there = [torch.zeros(1000, device="cuda") for _ in range(200)]
        addresses = {t.data_ptr() for t in there} | {id(t.untyped_storage()) for t in there}
        assert all(map(device.holds, there))
    del there
    gc.collect()
    later = [torch.zeros(1000) for _ in range(200)]
    assert addresses & ({t.data_ptr() for t in later} | {id(t.untyped_storage()) for t in later})
    with device:
        assert not any(map(device.holds, later))
        assert all(t.device.type == "cpu" for t in later)


def test_a_mark_lives_as_long_as_the_storage(device: VirtualDevice) -> None:
    tensor = numbers(2)
    gc.collect()
    view = tensor[:1]
    del tensor
    gc.collect()
    assert device.holds(view)
    assert not VirtualDevice().holds(view)


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": False}], ids=str)
def test_an_optimizer_moves_as_on_the_host(options: dict[str, Any], tmp_path: Path) -> None:
    """And its state, saved and loaded, stays on the device; the file says where it was."""
    expected = trained("cpu", options, tmp_path)
    with VirtualDevice() as device:
        found = trained("cuda", options, tmp_path)
        (state,) = {k: v for k, v in found.state.items() if v["exp_avg"].dim() == 1}.values()
        assert device.holds(state["exp_avg"])
        assert device.holds(state["step"]) == ("fused" in options)
        assert torch.load(tmp_path / "cuda.pth")["state"][0]["exp_avg"].is_cuda
        assert torch.load(tmp_path / "cuda.pth", "cpu")["state"][0]["exp_avg"].is_cpu
        assert torch.load(tmp_path / "cpu.pth", "cuda")["state"][0]["exp_avg"].is_cuda
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="torch.cuda.is_available"):
            torch.load(tmp_path / "cuda.pth")
    for ours, theirs in zip(parameters(found), parameters(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)


def trained(device: str, options: dict[str, Any], folder: Path) -> torch.optim.Optimizer:
    """Train twice two steps, with a checkpoint between them."""
    torch.manual_seed(1)
    network = nn.Linear(3, 2, dtype=torch.float64).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), **options)
    for part in range(2):
        for _ in range(2):
            optimizer.zero_grad()
            network(torch.ones(4, 3, dtype=torch.float64, device=device)).square().sum().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()
        if part == 0:
            torch.save(optimizer.state_dict(), folder / f"{device}.pth")
            optimizer.load_state_dict(torch.load(folder / f"{device}.pth"))
    return optimizer


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def test_kernels_are_counted_without_views(device: VirtualDevice) -> None:
    x = numbers(2, 3)
    device.clear()
    (x.T.flatten()[1:] * 2).add_(1)
    torch.ones(3) + 1
    assert device.kernels == {"clone": 1, "mul": 1, "add_": 1}


def test_all_is_as_before_after_the_context() -> None:
    before = torch.cuda.is_available, torch.autocast, torch.serialization._package_registry
    with VirtualDevice() as device:
        tensor = numbers(2)
    assert (torch.cuda.is_available, torch.autocast) == before[:2]
    assert torch.serialization._package_registry is before[2]
    assert "pin_memory" not in vars(Tensor)
    assert tensor.device.type == "cpu"
    assert tensor.tolist() == [1, 2]
    assert device.events == []
