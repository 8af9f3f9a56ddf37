"""Check that two processes on one device compute the same as one process with both batches."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from acceptance.bench import Bench
from acceptance.clock import OutOfTime
from paired_steps import IMAGES, PROCESSES, Slice, build, images_of, whole_batch
from small_runs import write_material
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg.datasets.loader import to_device
from mmseg.system import processes
from mmseg.system.gradient_averaging import average_gradients

CASES = ("cdda", "mic_teacher")
STEPS = 3
TOLERANCE = 1e-9  # of the norm, in float64

Vectors = dict[str, Tensor]


def two_processes(bench: Bench) -> None:
    """Start the processes and check how far their results deviate."""
    folder = bench.folder / "two"
    write_material(folder)
    arguments = (str(folder), str(bench.device), bench.is_dry)
    context = mp.start_processes(
        work, arguments, nprocs=PROCESSES, join=False, start_method="spawn"
    )
    assert context is not None
    try:
        while not context.join(timeout=1):
            if bench.clock.left() <= 0:
                raise OutOfTime
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
    for case, deviations in torch.load(folder / "deviations.pth", weights_only=True).items():
        detail = ", ".join(f"{name} {value:.1e}" for name, value in deviations.items())
        holds = all(value <= TOLERANCE for value in deviations.values())
        claim = f"two gloo processes equal one with both batches: {case}, float64"
        bench.record.check(claim, holds, f"relative deviations, of {TOLERANCE:.0e}: {detail}")


def work(rank: int, folder: str, device_name: str, is_dry: bool) -> None:
    """Compute everything alone (process 0 only), then together, and save the deviations."""
    device, root = torch.device(device_name), Path(folder)
    torch.set_num_threads(1)
    cases = CASES[:1] if is_dry else CASES
    both = PROCESSES * IMAGES
    alone = {case: steps(root, case, device, 0, both) for case in cases if rank == 0}
    # NCCL, the usual choice for GPU tensors, refuses two processes on one GPU. `processes` uses
    # a group that exists as it is.
    store = dist.FileStore(str(root / "store"), PROCESSES)
    processes.start_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    together = {case: steps(root, case, device, rank * IMAGES, IMAGES) for case in cases}
    if rank == 0:
        deviations = {
            case: {
                name: float((together[case][name] - expected).norm() / expected.norm())
                for name, expected in alone[case].items()
            }
            for case in cases
        }
        torch.save(deviations, root / "deviations.pth")
    processes.barrier()
    processes.shut_down()


def steps(root: Path, case: str, device: torch.device, first: int, count: int) -> Vectors:
    """Do SGD steps in float64, with norm layers in eval mode, on some images of each batch."""
    method = build(root, case).double().to(device)
    for module in method.modules():
        if isinstance(module, _BatchNorm | nn.LayerNorm):
            module.eval()
    optimizer = torch.optim.SGD(method.trainable_parameters(), 0.002)
    result: Vectors = {}
    for iteration in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        batch = to_device(images_of(whole_batch(iteration), first, count), device)
        method.accumulate_gradients(batch, iteration, Slice(iteration, first))
        average_gradients(method.trainable_parameters())
        gradients = [p.grad for p in method.trainable_parameters() if p.grad is not None]
        result[f"gradient {iteration + 1}"] = torch.cat([g.flatten() for g in gradients])
        optimizer.step()
    result["weights"] = torch.cat([p.detach().flatten() for p in method.parameters()])
    return result
