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
from mmseg.models.uda.depthmetric.histogram import count_pixels
from mmseg.models.uda.depthmetric.reweighting import LOW, reweight, reweight_table
from mmseg.models.uda.depthmetric.similarity import Target, best_match
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
    is_guided: Tensor  # (B, C) bool, missing classes that take part in the guidance
    source: Tensor  # (B, C, K) counts of the best match
    bins: Tensor  # (K,) their bins
    incoming: Tensor  # (B, H, W) pseudo-label weight before re-weighting
    label: Tensor  # (B, H, W) int64 pseudo-label
    depth: Tensor  # (B, H, W) depth bins of the target
    decisions: HostCopy  # (1 + B,) int64, `guidance_runs` and `source_index`

    @property
    def guidance_table(self) -> Tensor:
        """The (B, C, D) p_c(b) of the guided classes, 0 elsewhere."""
        prior = guidance_prior(self.source, self.is_guided)
        return prior.new_zeros(*prior.shape[:2], NUM_BINS).index_copy_(2, self.bins, prior)

    @property
    def is_relabeled(self) -> Tensor:
        """The images, (B,) bool, in which classes are guided."""
        return ((self.source.amax(2) > 0) & self.is_guided).any(1) & self.guidance_runs

    @property
    def soft_weight(self) -> Tensor:
        """The (B, H, W) weight of the soft cross-entropy, before margins."""
        return GUIDANCE_WEIGHT * self.incoming

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
        bank: (M, C, D) counts, one histogram per source crop, or these as a `Bank`.
        dataset: short name of the source dataset, such as 'gta'. Classes that it does not annotate
            are not re-weighted, because their similarity is meaningless.
        reweight_threshold: mean similarity above which an image is re-weighted and its source crop
            replaced.
        relabel_threshold: mean similarity above which missing classes are guided.
        threshold_decay: how both fall, see `decayed`.
        reference_quirks: whether to behave as the released code, see `as_released`.
        unlabeled_classes: classes that the source does not annotate, instead of the dataset's.
    """

    low: Tensor  # (C,) similarity at which a class counts again, see `reweight_table`

    def __init__(
        self,
        bank: Tensor | Bank,
        dataset: str | None = None,
        *,
        reweight_threshold: float,
        relabel_threshold: float,
        threshold_decay: float = 0.0,
        reference_quirks: bool = False,
        unlabeled_classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(bank, Tensor):
            if bank.ndim != 3 or bank.shape[2] != NUM_BINS or not len(bank):
                raise ValueError(
                    f"expected a bank (crops, classes, {NUM_BINS}), got {tuple(bank.shape)}; "
                    "make it with run_seg.py."
                )
            bank = Bank(bank)
        self.reweight_threshold = reweight_threshold
        self.relabel_threshold = relabel_threshold
        self.threshold_decay = threshold_decay
        self.reference_quirks = reference_quirks
        self.bank, self.num_crops, self.num_classes = bank, len(bank), bank.num_classes
        if unlabeled_classes is None:
            unlabeled_classes = unlabeled_classes_of(dataset) if dataset else ()
        low = torch.full((self.num_classes,), LOW, dtype=torch.float64)
        low[[c for c in unlabeled_classes if c < self.num_classes]] = -torch.inf
        self.register_buffer("low", low, persistent=False)

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
        quirks, bank = self.reference_quirks, self.bank
        row = label.clamp(-1, self.num_classes)
        target = Target.of(count_pixels(row, depth, self.num_classes), bank)
        best = best_match(target, bank)
        reweight_above, relabel_above = self.thresholds(iteration)
        is_kept = best.mean <= reweight_above
        table = reweight_table(best.similarity, is_kept[:, None], self.low)
        change = as_released.reweight if quirks else reweight

        source = bank.of_crops(best.index)  # (B, C, K)
        is_missing = (best.mean > relabel_above)[:, None] > target.sizes  # of no pixel
        occupied = as_released.whole_depths(depth, bank.bins) if quirks else target.occupied
        decide = as_released.decide_guidance if quirks else decide_guidance
        is_guided, runs = decide(source, is_missing, occupied)
        source_index = best.index.masked_fill(is_kept, -1)
        return DepthMatch(
            weight=change(weight, row, confident, table),
            source_index=source_index,
            similarity=best.mean,
            class_similarity=best.similarity,
            guidance_runs=runs,
            is_guided=is_guided,
            source=source,
            bins=bank.bins,
            incoming=weight,
            label=label,
            depth=depth,
            decisions=HostCopy(torch.cat([runs.long().view(1), source_index])),
        )
