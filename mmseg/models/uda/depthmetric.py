"""What depth tells about a target image: its best source match, and what follows from it (CDDA).

For every target image the metric finds the source crop with the most similar class-wise depth
distributions, re-weights the pseudo-labels by that similarity and says where classes that the
pseudo-label misses would be expected (guidance). Pure functions first, `DepthMetric` at the end.

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTH_BINS = 256
# Re-weighting, by the similarity v of a class: above HIGH its confident pixels count fully, below
# LOW its pixels do not count, between them they count (v - LOW) / (HIGH - LOW).
HIGH, LOW = 0.75, 0.1
GUIDANCE_WEIGHT = 0.1
# A class that is certain at a depth is capped, so that the one-hot entry stays the only exact 1.
LARGEST_PRIOR = 0.99999
DECAY_START, DECAY_END, DECAY_INTERVAL = 10_000, 39_000, 1_000
# Labels that a source dataset does not annotate, so that their similarity says nothing.
UNLABELED_CLASSES = {"gta": (), "synthia": (9, 14, 16)}


def depth_histogram(label: Tensor, depth: Tensor, num_classes: int = 19) -> Tensor:
    """Count the pixels of every class at every depth.

    Args:
        label: (…, H, W) integer class; values outside 0…C-1 (such as 255) do not count.
        depth: (…, H, W) depth bin, any type; truncated, values outside 0…255 do not count.

    Returns:
        (…, C, 256) float32 counts; exact up to 2²⁴ pixels in one bin.

    >>> depth_histogram(torch.tensor([[1, 1, 255]]), torch.tensor([[7.9, 7.0, 7.0]]), 2)[1, 7]
    tensor(2.)
    """
    if label.shape != depth.shape or label.ndim < 2:
        raise ValueError(
            f"expected label and depth of one shape (…, H, W), got {tuple(label.shape)} and "
            f"{tuple(depth.shape)}; resize both together."
        )
    leading = label.shape[:-2]
    label = label.flatten(end_dim=-3) if leading else label[None]
    depth = depth.reshape(label.shape).to(torch.int64)
    label = label.to(torch.int64)
    counted = (label >= 0) & (label < num_classes) & (depth >= 0) & (depth < DEPTH_BINS)
    image = torch.arange(len(label), device=label.device).view(-1, 1, 1)
    cell = (image * num_classes + label) * DEPTH_BINS + depth
    size = len(label) * num_classes * DEPTH_BINS
    cell = torch.where(counted, cell, size).flatten()  # one more cell takes what does not count
    # On a GPU `bincount` waits for the device to learn its own size; adding up ones does not.
    if label.is_cuda:
        ones = torch.ones_like(cell, dtype=torch.float32)
        counts = torch.zeros(size + 1, device=label.device).scatter_add_(0, cell, ones)
    else:
        counts = torch.bincount(cell, minlength=size + 1).float()
    return counts[:-1].view(*leading, num_classes, DEPTH_BINS)


def class_similarity(target: Tensor, bank: Tensor) -> Tensor:
    """Compare class-wise depth distributions: sim_c = (cos_c + 1 - l1_c) / 2.

    cos_c compares the shapes of the two distributions, l1_c also their sizes.

    Args:
        target: (B, C, D) counts.
        bank: (C, M, D) counts (class first, so that each class is one contiguous matrix).

    Returns:
        (B, M, C) in [0, 1]; 0 for classes that the target does not have.
    """
    by_class = target.transpose(0, 1)  # (C, B, D)
    dot = torch.bmm(by_class, bank.transpose(1, 2))  # (C, B, M)
    norms = by_class.norm(dim=2)[:, :, None] * bank.norm(dim=2)[:, None, :]
    cosine = torch.where(norms > 0, dot / norms, 0.0)
    size = by_class.sum(2)[:, :, None] + bank.sum(2)[:, None, :]
    distance = torch.cdist(by_class, bank, p=1) / size.clamp(min=1)
    similarity = (cosine + 1 - distance) / 2
    is_present = by_class.sum(2)[:, :, None] > 0
    return torch.where(is_present, similarity, 0.0).permute(1, 2, 0)


def reweight_table(similarity: Tensor, applies: Tensor) -> tuple[Tensor, Tensor]:
    """Turn class similarities into what happens to the pixels of a class.

    Args:
        similarity: (B, C) of the best match.
        applies: (B, C) bool, classes that are re-weighted at all.

    Returns:
        factor: (B, C) new weight of the class's pixels; NaN where they keep theirs.
        is_trusted: (B, C) bool, classes whose confident pixels get weight 1.
    """
    value = similarity.clamp(min=0)
    is_trusted = applies & (value > HIGH)
    factor = torch.where(value < LOW, 0.0, (value - LOW) / (HIGH - LOW))
    return factor.masked_fill(~applies | is_trusted, torch.nan), is_trusted


def reweight(
    weight: Tensor, label: Tensor, confident: Tensor, factor: Tensor, is_trusted: Tensor
) -> Tensor:
    """Give every pixel the weight of its own class (SPEC section 6, our default).

    Args:
        weight: (B, H, W) pseudo-label weight in [0, 1]; label: (B, H, W) int64;
        confident: (B, H, W) bool; factor, is_trusted: (B, C) from `reweight_table`.
    """
    keep = torch.full_like(factor[:, :1], torch.nan)
    factor = torch.cat([factor, keep], 1)  # column C: ignored pixels keep their weight
    is_trusted = torch.cat([is_trusted, torch.zeros_like(is_trusted[:, :1])], 1)
    column = label.clamp(max=factor.shape[1] - 1).flatten(1)  # (B, HW)
    factor = factor.gather(1, column).view_as(weight)
    trusted = is_trusted.gather(1, column).view_as(confident) & confident
    weight = torch.where(factor.isnan(), weight, factor.to(weight.dtype))
    return torch.where(trusted, 1.0, weight)


def reweight_as_released(
    weight: Tensor, label: Tensor, confident: Tensor, factor: Tensor, is_trusted: Tensor
) -> Tensor:
    """Do what the released code does instead of `reweight` (SPEC section 9, Q1).

    The mask of a class is where the *first row* of the label shows it. For a trusted class it selects
    columns, for the others rows; later classes overwrite earlier ones.
    """
    height, width = label.shape[-2:]
    if height != width:
        raise ValueError(
            f"uda.reference_quirks=True needs square crops, got {height}×{width}; set it to False "
            "or use a square crop_size."
        )
    result = weight
    for index in range(factor.shape[1]):
        mask = label[:, 0] == index  # (B, W)
        trusted = mask[:, None, :] & confident & is_trusted[:, index, None, None]
        value = factor[:, index, None, None]
        others = mask[:, :, None] & ~value.isnan()
        result = torch.where(trusted, 1.0, torch.where(others, value, result))
    return result


def guidance_prior(source: Tensor, is_missing: Tensor) -> Tensor:
    """Return p_c(b), how likely class c is at depth b in the matched source crop.

    Args:
        source: (B, C, D) counts of the match; is_missing: (B, C) bool, classes to guide.

    Returns:
        (B, C, D) in [0, 0.99999]; 0 for the classes that are not missing.
    """
    total = source.sum(1, keepdim=True)
    prior = torch.where(total > 0, source / total, 0.0).clamp(max=LARGEST_PRIOR)
    return prior * is_missing[:, :, None]


def soft_labels(label: Tensor, depth: Tensor, table: Tensor) -> Tensor:
    """Add the guidance to the one-hot pseudo-label, keeping the sum of every labeled pixel at 1.

    Args:
        label: (B, H, W) int64, 255 is ignored; depth: (B, H, W) depth bins;
        table: (B, C, D) from `guidance_prior`.

    Returns:
        (B, C, H, W). What the guided classes get is taken from the pseudo-label's own entry (which
        may become negative where several classes are guided); ignored pixels hold guidance only.
    """
    classes = table.shape[1]
    bins = depth.to(torch.int64)
    is_counted = (bins >= 0) & (bins < DEPTH_BINS)
    column = bins.clamp(0, DEPTH_BINS - 1).flatten(1)[:, None].expand(-1, classes, -1)
    prior = table.gather(2, column).unflatten(2, label.shape[1:])  # (B, C, H, W)
    prior = prior * is_counted[:, None]
    own = 1 - prior.sum(1, keepdim=True)  # 2 - sum of the row, the one-hot entry included
    one_hot = label[:, None] == torch.arange(classes, device=label.device).view(-1, 1, 1)
    return torch.where(one_hot, own, prior)


def soft_cross_entropy(
    logits: Tensor, soft_label: Tensor, weight: Tensor, reference_quirks: bool = False
) -> Tensor:
    """Mean over all pixels of -weight · Σ_c soft_label_c · log softmax(logits)_c.

    Args:
        logits: (B, C, h, w), up-sampled bilinearly to H×W.
        soft_label: (B, C, H, W).
        weight: (B, H, W), or (B, 1, H, W).
        reference_quirks: weight every image with every image's weights, as the released code does
            (SPEC section 9, Q3); equal for B = 1.

    >>> soft_cross_entropy(torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1) / 2, torch.ones(1, 1, 1))
    tensor(0.6931)
    """
    if weight.ndim == 4:
        weight = weight[:, 0]
    if soft_label.shape != (*logits.shape[:2], *weight.shape[1:]):
        raise ValueError(
            f"expected soft labels (B, C, H, W) = {(*logits.shape[:2], *weight.shape[1:])}, "
            f"got {tuple(soft_label.shape)}."
        )
    if logits.shape[2:] != weight.shape[1:]:
        logits = F.interpolate(logits, weight.shape[1:], mode="bilinear", align_corners=False)
    loss = -(soft_label * logits.log_softmax(1)).sum(1)  # (B, H, W)
    if reference_quirks:
        weight = weight.mean(0)
    return (loss * weight).mean()


def load_bank(path: str | Path, dataset: str, device: torch.device | str = "cpu") -> Tensor:
    """Load the (M, C, D) float32 bank that `run_seg.py` wrote.

    Raises:
        FileNotFoundError, ValueError: naming the command that makes it.
    """
    path = Path(path)
    command = (
        f"python run_seg.py --config <this config> --dataset_name {dataset} "
        f"--source_preprocessed_path {path.parent}"
    )
    if not path.is_file():
        raise FileNotFoundError(f"No depth statistics at '{path}'. Create them with: {command}")
    bank = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(bank, Tensor) or bank.ndim != 3 or bank.shape[2] != DEPTH_BINS:
        found = tuple(bank.shape) if isinstance(bank, Tensor) else type(bank).__name__
        raise ValueError(
            f"'{path}': expected a tensor (crops, classes, {DEPTH_BINS}), got {found}; "
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
    guidance_runs: Tensor  # () bool
    guidance_table: Tensor  # (B, C, D) p_c(b) of the missing classes, 0 elsewhere
    soft_weight: Tensor  # (B, H, W) weight of the soft cross-entropy, before margins
    label: Tensor  # (B, H, W) int64 pseudo-label
    depth: Tensor  # (B, H, W) depth bins of the target

    def make_soft_label(self) -> Tensor:
        """Return the (B, C, H, W) soft target of the guidance."""
        return soft_labels(self.label, self.depth, self.guidance_table)

    @property
    def soft_label(self) -> Tensor | None:
        """The (B, C, H, W) soft target, or None when guidance does not run (reads the device)."""
        return self.make_soft_label() if bool(self.guidance_runs) else None


class DepthMetric(nn.Module):
    """Match target images with source crops by depth, and draw the conclusions (SPEC section 6).

    Args:
        bank: (M, C, D) float32 counts, one histogram per source crop.
        dataset: 'gta' or 'synthia', the source; says which classes it does not label.
        reweight_threshold: mean similarity above which an image is re-weighted and its source crop
            replaced.
        relabel_threshold: mean similarity above which missing classes are guided.
        threshold_decay: what both lose at every 1,000th iteration from 10,000 to 39,000.
        reference_quirks: behave as the released code does (SPEC section 9).
    """

    bank: Tensor

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
        if bank.ndim != 3 or bank.shape[2] != DEPTH_BINS or not len(bank):
            raise ValueError(
                f"expected a bank (crops, classes, {DEPTH_BINS}), got {tuple(bank.shape)}; "
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
        # Class first: one contiguous (M, D) matrix per class. Not saved: it is a file of its own.
        by_class = bank.float().transpose(0, 1).contiguous()
        self.register_buffer("bank", by_class, persistent=False)
        labeled = torch.ones(bank.shape[1], dtype=torch.bool)
        labeled[[c for c in UNLABELED_CLASSES[dataset] if c < len(labeled)]] = False
        self.register_buffer("is_labeled", labeled, persistent=False)

    @property
    def num_crops(self) -> int:
        """M, the number of source crops in the bank."""
        return self.bank.shape[1]

    @property
    def num_classes(self) -> int:
        """C, the number of classes in the bank."""
        return self.bank.shape[0]

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
        target = depth_histogram(label, depth, self.num_classes)  # (B, C, D)
        best, similarities, mean = self._best_match(target)
        reweight_above, relabel_above = self.thresholds(iteration)
        is_reweighted, is_guided = mean > reweight_above, mean > relabel_above
        is_present = target.sum(2) > 0  # (B, C)

        factor, trusted = reweight_table(
            similarities, is_reweighted[:, None] & is_present & self.is_labeled
        )
        change = reweight_as_released if self.reference_quirks else reweight
        source = self.bank[:, best].transpose(0, 1)  # (B, C, D)
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
        """Return index (B,), class similarities (B, C) and mean similarity (B,) of the best crop."""
        similarity = class_similarity(target, self.bank)  # (B, M, C)
        counts, source_counts = target.sum(2), self.bank.sum(2).T  # (B, C), (M, C)
        alike = F.cosine_similarity(counts[:, None], source_counts[None], dim=2)  # (B, M)
        score = similarity.sum(2) * alike
        best = score.argmax(1)
        image = torch.arange(len(best), device=best.device)
        num_present = (counts > 0).sum(1).clamp(min=1)
        return best, similarity[image, best], score[image, best] / num_present

    def _guidance(
        self, prior: Tensor, is_missing: Tensor, depth: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the (B, C, D) guidance table and whether guidance runs for the batch."""
        bins = depth.to(torch.int64)
        if self.reference_quirks:  # Q4: only depths that are whole numbers meet a bin
            bins = torch.where(depth == bins, bins, -1)
        occupied = depth_histogram(torch.zeros_like(bins), bins, 1) > 0  # (B, 1, D)
        overlaps = ((prior > 0) & occupied).any(2)  # (B, C)
        if not self.reference_quirks:
            return prior, overlaps.any()
        return prior * overlaps[:, :, None], _last_of(is_missing.flatten(), overlaps.flatten())


def _last_of(mask: Tensor, values: Tensor) -> Tensor:
    """Return the value at the last True of `mask`, False if there is none (SPEC section 9, Q2)."""
    order = torch.arange(1, len(mask) + 1, device=mask.device)
    last = (order * mask).max()
    return (values & mask & (order == last)).any()
