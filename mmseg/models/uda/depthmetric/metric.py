"""The depth metric: match target images with source crops by depth.

For every target image, it finds the source crop with the most similar class-wise depth
distributions, re-weights the pseudo-labels by that similarity, and tells where classes that the
pseudo-label misses would be expected (guidance).

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg.datasets import unlabeled_classes_of
from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.models.uda.depthmetric import as_released
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.depthmetric.guidance import (
    GUIDANCE_WEIGHT,
    decide_guidance,
    guidance_prior,
    lower_excess,
    raw_labels,
)
from mmseg.models.uda.depthmetric.histogram import depth_histogram
from mmseg.models.uda.depthmetric.reweighting import reweight, reweight_table
from mmseg.models.uda.depthmetric.similarity import best_match
from mmseg.models.uda.depthmetric.thresholds import decayed
from mmseg.system.device_copies import HostCopy
from mmseg.system.processes import barrier


@dataclass(frozen=True)
class DepthMatch:
    """The verdict of the metric on a batch; everything stays on the device."""

    weight: Tensor  # (B, H, W) re-weighted pseudo-label weight
    source_index: Tensor  # (B,) int64, -1 = keep the drawn source crop
    similarity: Tensor  # (B,) mean similarity S̄ of the best match; 0 if nothing is labeled
    class_similarity: Tensor  # (B, C) of the best match
    guidance_runs: Tensor  # () bool, for the images of all processes
    guidance_table: Tensor  # (B, C, D) p_c(b) of the missing classes, 0 elsewhere
    soft_weight: Tensor  # (B, H, W) weight of the soft cross-entropy, before margins
    label: Tensor  # (B, H, W) int64 pseudo-label
    depth: Tensor  # (B, H, W) depth bins of the target
    decisions: HostCopy  # (1 + B,) int64, `guidance_runs` and `source_index`

    def make_raw_label(self) -> Tensor:
        """Return the (B, C, H, W) soft target of the guidance, before `lower_excess`."""
        return raw_labels(self.label, self.depth, self.guidance_table)

    def read_decisions(self) -> tuple[bool, list[int]]:
        """Return whether guidance runs, and `source_index`: an iteration's only device read."""
        barrier()  # on a GPU, reading waits for all processes (see `barrier`)
        first, *indices = self.decisions.wait().tolist()
        return bool(first), indices

    @property
    def soft_label(self) -> Tensor | None:
        """The (B, C, H, W) soft target, or None when guidance does not run (reads the device)."""
        return lower_excess(self.make_raw_label()) if bool(self.guidance_runs) else None


class DepthMetric(nn.Module):
    """Match target images with source crops by depth.

    Args:
        bank: (M, C, D) float32 counts, one histogram per source crop.
        dataset: short name of the source dataset, such as 'gta'. Classes that it does not annotate
            are not re-weighted, because their similarity is meaningless.
        reweight_threshold: mean similarity above which an image is re-weighted and its source crop
            replaced.
        relabel_threshold: mean similarity above which missing classes are guided.
        threshold_decay: how both fall, see `decayed`.
        reference_quirks: whether to behave as the released code, see `as_released`.
        unlabeled_classes: classes that the source does not annotate, instead of the dataset's.
    """

    is_labeled: Tensor  # (C,) bool

    def __init__(
        self,
        bank: Tensor,
        dataset: str | None = None,
        *,
        reweight_threshold: float,
        relabel_threshold: float,
        threshold_decay: float = 0.0,
        reference_quirks: bool = False,
        unlabeled_classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if bank.ndim != 3 or bank.shape[2] != NUM_BINS or not len(bank):
            raise ValueError(
                f"expected a bank (crops, classes, {NUM_BINS}), got {tuple(bank.shape)}; "
                "make it with run_seg.py."
            )
        self.reweight_threshold = reweight_threshold
        self.relabel_threshold = relabel_threshold
        self.threshold_decay = threshold_decay
        self.reference_quirks = reference_quirks
        self.num_crops, self.num_classes, _ = bank.shape
        self.bank = Bank(bank)
        if unlabeled_classes is None:
            unlabeled_classes = unlabeled_classes_of(dataset) if dataset else ()
        labeled = torch.ones(bank.shape[1], dtype=torch.bool)
        labeled[[c for c in unlabeled_classes if c < len(labeled)]] = False
        self.register_buffer("is_labeled", labeled, persistent=False)

    def thresholds(self, iteration: int) -> tuple[float, float]:
        """Return the (reweight, relabel) thresholds in force at an iteration."""
        return (
            decayed(self.reweight_threshold, self.threshold_decay, iteration),
            decayed(self.relabel_threshold, self.threshold_decay, iteration),
        )

    @torch.no_grad()
    def forward(
        self, label: Tensor, weight: Tensor, confident: Tensor, depth: Tensor, iteration: int
    ) -> DepthMatch:
        """Judge a batch of pseudo-labels, without changing the inputs.

        Args:
            label: (B, H, W) int64 pseudo-label; 255 is ignored.
            weight: (B, H, W) float pseudo-label weight in [0, 1].
            confident: (B, H, W) bool, probability at or above the pseudo-label threshold.
            depth: (B, H, W) depth bins 0…255 of the target; may be fractional.
            iteration: number of the training iteration, for the thresholds.
        """
        target = depth_histogram(label, depth, self.num_classes).to(self.bank.counts.dtype)
        best, similarities, mean = best_match(target, self.bank)
        reweight_above, relabel_above = self.thresholds(iteration)
        is_reweighted, is_guided = mean > reweight_above, mean > relabel_above
        is_present = target.sum(2) > 0  # (B, C)

        factor, trusted = reweight_table(
            similarities, is_reweighted[:, None] & is_present & self.is_labeled
        )
        change = as_released.reweight if self.reference_quirks else reweight
        source = self.bank.histograms(best)  # (B, C, D)
        is_missing = is_guided[:, None] & ~is_present & (source.sum(2) > 0)
        decide = as_released.decide_guidance if self.reference_quirks else decide_guidance
        table, runs = decide(guidance_prior(source, is_missing), is_missing, depth)
        source_index = torch.where(is_reweighted, best, -1)
        return DepthMatch(
            weight=change(weight, label, confident, factor, trusted),
            source_index=source_index,
            similarity=mean,
            class_similarity=similarities,
            guidance_runs=runs,
            guidance_table=table,
            soft_weight=GUIDANCE_WEIGHT * weight,
            label=label,
            depth=depth,
            decisions=HostCopy(torch.cat([runs.long().view(1), source_index])),
        )
