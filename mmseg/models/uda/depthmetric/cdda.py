"""CDDA (class-wise depth-distribution adaptation): what depth adds to self-training.

`DACS` holds one `CDDA`. It reads as the method: `match` each target image with a source crop of
similar depth; `refine`: re-weight the pseudo-label, guide missing classes, and mix in the crop.

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmseg.datasets.crop_store import CropStore
from mmseg.models.uda.base import Step, UDABatch
from mmseg.models.uda.depthmetric import as_released
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.depthmetric.guidance import soft_cross_entropy, trust_inside
from mmseg.models.uda.depthmetric.metric import DepthMatch, DepthMetric
from mmseg.models.uda.depthmetric.replacement import Replacement
from mmseg.models.uda.passes import StudentPasses
from mmseg.models.uda.settings import DACSSettings
from mmseg.models.uda.teacher import PseudoLabel
from mmseg.system.errors import ConfigError


class CDDA(nn.Module):
    """Refine pseudo-labels and choose source crops by depth.

    Args:
        settings: of the training method; `uses_depth` is True.
        bank: statistics of the M source crops, (M, C, D) or as a `Bank`.
        crops: the source crops.
    """

    def __init__(self, settings: DACSSettings, bank: Tensor | Bank, crops: CropStore) -> None:
        super().__init__()
        s = self.settings = settings
        assert s.reweight_threshold is not None and s.relabel_threshold is not None
        self.crops = crops
        self.metric = DepthMetric(
            bank,
            s.dataset,
            reweight_threshold=s.reweight_threshold,
            relabel_threshold=s.relabel_threshold,
            threshold_decay=s.threshold_decay,
            reference_quirks=s.reference_quirks,
        )

    def describe(self) -> str:
        """Tell which depth statistics are used."""
        s, count = self.settings, self.metric.num_crops
        line = f"Depth statistics: {count} source crops of {s.dataset} ({s.matrix_path})"
        if s.jitter is not None:
            line += "; crops of other configs, such as MIC's, are of another scale: draw them with "
            line += "run_seg.py and this config"
        return line

    def match(self, step: Step, pseudo: PseudoLabel) -> DepthMatch:
        """Find source crops of similar depth."""
        depth = step.data.target_depth
        if depth is None:
            raise ConfigError(
                "expected target depth in the batch, got none; set data.train.target.dep_dir to "
                "the maps that `python tools/make_depth.py` makes of the target images, or remove "
                "uda.matrix_path to train without depth."
            )
        match = self.metric(pseudo.label, pseudo.weight, pseudo.confident, depth, step.iteration)
        step.output.show(target_depth=depth, reweighted=match.weight)
        return match

    def refine(
        self, passes: StudentPasses, match: DepthMatch, pseudo: PseudoLabel, trust: Tensor
    ) -> tuple[PseudoLabel, UDABatch]:
        """Return the re-weighted pseudo-label, and the batch with the matched source crops.

        If classes are missing, also train the student on the classes that depth suggests.

        Args:
            passes: of the iteration.
            match: of the target images.
            pseudo: of the same images.
            trust: (B, H, W) of 0/1, where pseudo-labels count.
        """
        step = passes.step
        self._log(step, match)
        guidance_runs, indices = match.read_decisions()
        crops = Replacement(step.data, self.crops, indices)  # read during the guidance
        if guidance_runs:
            guide = partial(self._guide, passes.student, step, match, trust)
            passes.train(step.data.target_image, guide)
        return replace(pseudo, weight=match.weight), self._replace(step, crops)

    def _log(self, step: Step, match: DepthMatch) -> None:
        """Log what follows from the match."""
        reweighted = (match.source_index >= 0).float().mean()
        step.output.log(
            {
                "cdda.reweighted": reweighted,
                "cdda.relabeled": match.is_relabeled.float().mean(),
                "cdda.replaced": reweighted,
                "cdda.similarity": match.similarity.mean(),
                "cdda.weight": match.weight.mean(),
            }
        )

    def _guide(
        self, student: Any, step: Step, match: DepthMatch, trust: Tensor, **features: Any
    ) -> dict[str, Tensor]:
        """Return the soft cross-entropy on the unmixed target and the classes depth suggests."""
        data, quirks = step.data, self.settings.reference_quirks
        options = {"draws": step.draws, **features}
        logits = student.train_logits(data.target_image, data.target_metas, **options)
        weigh = as_released.trust_everywhere if quirks else trust_inside
        weight = weigh(match.soft_weight, trust)
        loss = soft_cross_entropy(logits, match.make_raw_label(), weight, quirks)
        return {"tgt.loss": loss}

    def _replace(self, step: Step, crops: Replacement) -> UDABatch:
        """Return the batch with the matched crops as the source to mix from."""
        if not crops.positions:
            return step.data
        replaced = crops.batch()
        step.output.show(matched_image=replaced.image, matched_label=replaced.label[:, 0])
        return replaced
