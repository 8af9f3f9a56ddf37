"""What a run asks of a machine, as far as its config tells."""

from dataclasses import dataclass
from pathlib import Path

from mmseg.apis.agreement import sample_size
from mmseg.apis.comparison.published import reported_memory
from mmseg.config.run_config import RunConfig
from mmseg.datasets.loader import PREFETCH

# Bytes of a pixel in a training sample: images of both domains (3 float32 each), depth of both
# (float32), a label (int64), and a mask.
PIXEL_BYTES = 2 * 12 + 2 * 4 + 8 + 1
TENSORS = 6  # of a batch; each is an open file in both processes
NUMBERS_PER_PARAMETER = 4  # in a checkpoint: student, teacher, and two moments of the optimizer
SPECIAL_CHECKPOINTS = 2  # the best one and `latest.pth`


@dataclass(frozen=True)
class Needs:
    """What a run asks of a machine; None where nobody knows.

    Attributes:
        workers: processes that read images.
        shared_memory: bytes of samples on their way from the workers.
        open_files: for these samples.
        disk: bytes of all checkpoints.
        gpu_memory: GB of 10⁹ bytes, and who says so.
        half: type of half precision.
    """

    workers: int = 0
    shared_memory: int | None = None
    open_files: int = 0
    disk: int | None = None
    gpu_memory: tuple[float, str] | None = None
    half: str | None = None


def needs_of(run: RunConfig, file: Path, parameters: int | None) -> Needs:
    """Return what a run asks for; `parameters` are those of its network, `file` is its config."""
    batches, samples = run.data.workers * PREFETCH, run.data.samples_per_gpu
    size = sample_size(run, run.data.source)
    return Needs(
        workers=run.data.workers,
        shared_memory=size and batches * samples * size[0] * size[1] * PIXEL_BYTES,
        open_files=batches * TENSORS,
        disk=parameters and 4 * NUMBERS_PER_PARAMETER * parameters * _checkpoints(run),
        gpu_memory=reported_memory(file),
        half=run.precision.dtype,
    )


def _checkpoints(run: RunConfig) -> int:
    """Return how many checkpoints there are at the end."""
    last, settings = run.runner.max_iters, run.checkpoints
    saved = -(-last // (settings.interval or last))
    kept = saved if settings.max_kept < 0 else min(saved, max(settings.max_kept, 1))
    return kept + SPECIAL_CHECKPOINTS
