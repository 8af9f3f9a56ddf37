"""What depth tells about a target image: its best source match, and what follows from it (CDDA).

For every target image the metric finds the source crop with the most similar class-wise depth
distributions, re-weights the pseudo-labels by that similarity and says where classes that the
pseudo-label misses would be expected (guidance). The pure functions it is made of live beside it:
`depth_similarity`, `reweighting`, `guidance`.

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.models.uda.depth_similarity import Bank, class_similarity, depth_histogram
from mmseg.models.uda.guidance import (
    guidance_prior,
    lower_excess,
    raw_labels,
    soft_cross_entropy,
)
from mmseg.models.uda.reweighting import reweight, reweight_as_released, reweight_table
from mmseg.system.processes import all_reduce_max, barrier, rank
from mmseg.system.safe_loading import UnreadableFileError, load_safely

__all__ = ["DepthMatch", "DepthMetric", "depth_histogram", "load_bank", "soft_cross_entropy"]

GUIDANCE_WEIGHT = 0.1
DECAY_START, DECAY_END, DECAY_INTERVAL = 10_000, 39_000, 1_000
# Labels that a source dataset does not annotate, so that their similarity says nothing.
UNLABELED_CLASSES = {"gta": (), "synthia": (9, 14, 16)}


def load_bank(path: str | Path, dataset: str, device: torch.device | str = "cpu") -> Tensor:
    """Load the (M, C, D) float32 bank that `run_seg.py` wrote.

    Raises:
        FileNotFoundError, ValueError: naming the command that makes it.
        UnsafeFileError: if it asks for more than a tensor.
    """
    path = Path(path)
    command = (
        f"python run_seg.py --config <this config> --dataset_name {dataset} "
        f"--source_preprocessed_path {path.parent}"
    )
    if numbered := re.search(r"_(\d+)_distribution", path.name):
        command += f" --num {numbered[1]}"
    if not path.is_file():
        raise FileNotFoundError(f"No depth statistics at '{path}'. Create them with: {command}")
    try:
        bank = load_safely(path, "a bank of depth statistics", device)
    except UnreadableFileError as error:
        raise ValueError(
            f"'{path}': expected a tensor saved by run_seg.py, got a file that cannot be read "
            f"({error}); create it again with: {command}"
        ) from error
    if not isinstance(bank, Tensor) or bank.ndim != 3 or bank.shape[2] != NUM_BINS:
        found = tuple(bank.shape) if isinstance(bank, Tensor) else type(bank).__name__
        raise ValueError(
            f"'{path}': expected a tensor (crops, classes, {NUM_BINS}), got {found}; "
            f"create it again with: {command}"
        )
    return bank.float()


@dataclass(frozen=True)
class DepthMatch:
    """What the metric says about a batch; everything stays on the device."""

    weight: Tensor  # (B, H, W) re-weighted pseudo-label weight
    source_index: Tensor  # (B,) int64, -1 = keep the drawn source crop
    best_index: Tensor  # (B,) int64, the best match whether or not it is used
    similarity: Tensor  # (B,) mean similarity S̄ of the best match, 0 if nothing is labeled
    class_similarity: Tensor  # (B, C) of the best match
    is_guided: Tensor  # (B,) bool, S̄ exceeds relabel_threshold
    guidance_runs: Tensor  # () bool, for the images of all processes
    guidance_table: Tensor  # (B, C, D) p_c(b) of the missing classes, 0 elsewhere
    soft_weight: Tensor  # (B, H, W) weight of the soft cross-entropy, before margins
    label: Tensor  # (B, H, W) int64 pseudo-label
    depth: Tensor  # (B, H, W) depth bins of the target

    def make_raw_label(self) -> Tensor:
        """Return the (B, C, H, W) soft target of the guidance, which the loss lowers."""
        return raw_labels(self.label, self.depth, self.guidance_table)

    def read_decisions(self) -> tuple[bool, list[int]]:
        """Return whether guidance runs, and `source_index`.

        This is the one copy from the device that an iteration needs.
        """
        barrier()  # on a GPU, reading waits for all processes; see mmseg.system.processes
        runs = self.guidance_runs.long().view(1)
        first, *indices = torch.cat([runs, self.source_index]).tolist()
        return bool(first), indices

    @property
    def soft_label(self) -> Tensor | None:
        """The (B, C, H, W) soft target, or None when guidance does not run (reads the device)."""
        return lower_excess(self.make_raw_label()) if bool(self.guidance_runs) else None


class DepthMetric(nn.Module):
    """Match target images with source crops by depth, and draw the conclusions.

    Args:
        bank: (M, C, D) float32 counts, one histogram per source crop.
        dataset: 'gta' or 'synthia', the source; says which classes it does not label.
        reweight_threshold: mean similarity above which an image is re-weighted and its source crop
            replaced.
        relabel_threshold: mean similarity above which missing classes are guided.
        threshold_decay: what both lose at every 1,000th iteration from 10,000 to 39,000.
        reference_quirks: behave as the released code does.
    """

    is_labeled: Tensor  # (C,) bool

    def __init__(
        self,
        bank: Tensor,
        dataset: str = "gta",
        *,
        reweight_threshold: float,
        relabel_threshold: float,
        threshold_decay: float = 0.0,
        reference_quirks: bool = False,
    ) -> None:
        super().__init__()
        if bank.ndim != 3 or bank.shape[2] != NUM_BINS or not len(bank):
            raise ValueError(
                f"expected a bank (crops, classes, {NUM_BINS}), got {tuple(bank.shape)}; "
                "make it with run_seg.py."
            )
        if dataset not in UNLABELED_CLASSES:
            known = ", ".join(UNLABELED_CLASSES)
            raise ValueError(f"expected uda.dataset to be one of {known}, got {dataset!r}.")
        self.dataset = dataset
        self.reweight_threshold = reweight_threshold
        self.relabel_threshold = relabel_threshold
        self.threshold_decay = threshold_decay
        self.reference_quirks = reference_quirks
        self.bank = Bank(bank)
        labeled = torch.ones(bank.shape[1], dtype=torch.bool)
        labeled[[c for c in UNLABELED_CLASSES[dataset] if c < len(labeled)]] = False
        self.register_buffer("is_labeled", labeled, persistent=False)

    @property
    def num_crops(self) -> int:
        """M, the number of source crops in the bank."""
        return self.bank.sizes.shape[0]

    @property
    def num_classes(self) -> int:
        """C, the number of classes in the bank."""
        return self.bank.sizes.shape[1]

    def thresholds(self, iteration: int) -> tuple[float, float]:
        """Return the (reweight, relabel) thresholds in force at an iteration."""
        last = min(iteration, DECAY_END)
        falls = max(0, (last - DECAY_START) // DECAY_INTERVAL + 1)
        decay = falls * self.threshold_decay
        return self.reweight_threshold - decay, self.relabel_threshold - decay

    @torch.no_grad()
    def forward(
        self, label: Tensor, weight: Tensor, confident: Tensor, depth: Tensor, iteration: int
    ) -> DepthMatch:
        """Judge a batch of pseudo-labels; the inputs are not changed.

        Args:
            label: (B, H, W) int64 pseudo-label, 255 is ignored.
            weight: (B, H, W) float pseudo-label weight in [0, 1].
            confident: (B, H, W) bool, probability above the pseudo-label threshold.
            depth: (B, H, W) depth bins 0…255 of the target; may be fractional.
            iteration: number of the training iteration, for the thresholds.
        """
        target = depth_histogram(label, depth, self.num_classes).to(self.bank.counts.dtype)
        best, similarities, mean = self._best_match(target)
        reweight_above, relabel_above = self.thresholds(iteration)
        is_reweighted, is_guided = mean > reweight_above, mean > relabel_above
        is_present = target.sum(2) > 0  # (B, C)

        factor, trusted = reweight_table(
            similarities, is_reweighted[:, None] & is_present & self.is_labeled
        )
        change = reweight_as_released if self.reference_quirks else reweight
        source = self.bank.histograms(best)  # (B, C, D)
        is_missing = is_guided[:, None] & ~is_present & (source.sum(2) > 0)
        table, runs = self._guidance(guidance_prior(source, is_missing), is_missing, depth)
        return DepthMatch(
            weight=change(weight, label, confident, factor, trusted),
            source_index=torch.where(is_reweighted, best, -1),
            best_index=best,
            similarity=mean,
            class_similarity=similarities,
            is_guided=is_guided,
            guidance_runs=runs,
            guidance_table=table,
            soft_weight=GUIDANCE_WEIGHT * weight,
            label=label,
            depth=depth,
        )

    def _best_match(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best crop's index (B,), class similarities (B, C) and mean similarity (B,)."""
        counts = target.sum(2)  # (B, C)
        with torch.autocast(target.device.type, enabled=False):  # half precision rounds counts
            similarity = class_similarity(target, self.bank)  # (B, M, C)
            alike = F.cosine_similarity(counts[:, None], self.bank.sizes[None], dim=2)  # (B, M)
        score = similarity.sum(2) * alike
        best = score.argmax(1)
        image = torch.arange(len(best), device=best.device)
        num_present = (counts > 0).sum(1).clamp(min=1)
        return best, similarity[image, best], score[image, best] / num_present

    def _guidance(self, prior: Tensor, is_missing: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, C, D) guidance table and whether guidance runs for the batch."""
        bins = depth.to(torch.int64)
        if self.reference_quirks:  # Q4: only depths that are whole numbers meet a bin
            bins = torch.where(depth == bins, bins, -1)
        occupied = depth_histogram(torch.zeros_like(bins), bins, 1) > 0  # (B, 1, D)
        overlaps = ((prior > 0) & occupied).any(2)  # (B, C)
        if not self.reference_quirks:
            return prior, all_reduce_max(overlaps.any().long()) > 0
        return prior * overlaps[:, :, None], _last_of(is_missing.flatten(), overlaps.flatten())


def _last_of(mask: Tensor, values: Tensor) -> Tensor:
    """Return the value at the last True of `mask`, False if there is none (Q2 in the README).

    Args:
        mask, values: (N,) bool of this process; those of the next process come after them.
    """
    order = torch.arange(1, len(mask) + 1, device=mask.device) + rank() * len(mask)
    code = ((2 * order + values) * mask).max()  # the largest order decides, its value is the 0/1
    return all_reduce_max(code) % 2 > 0
