"""Self-training with class mixing (DACS), with DAFormer's feature distance, CDDA and MIC.

So is VFM-UDA(++), whose parts (`views`, `vfm_distance`, a mirrored teacher) are optional, too.

`DACS.accumulate_gradients` reads as the algorithm, with one method per phase.

Legend: B images, C classes, H×W pixels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import UDA
from mmseg.datasets.labels import IGNORE
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.uda.base import Step, StepOutput, TrainingMethod, UDABatch, build_twin
from mmseg.models.uda.depthmetric import CDDA
from mmseg.models.uda.depthmetric.source_crops import load_source_crops
from mmseg.models.uda.draws import Draws
from mmseg.models.uda.feature_distance import FeatureDistance
from mmseg.models.uda.half_weights import halve
from mmseg.models.uda.margins import trusted_pixels, with_unflipped_margins
from mmseg.models.uda.masking import MaskedConsistency
from mmseg.models.uda.mixing import class_mask, paste
from mmseg.models.uda.passes import StudentPasses, require_joint_passes
from mmseg.models.uda.settings import DACSSettings
from mmseg.models.uda.teacher import PseudoLabel, Teacher
from mmseg.models.uda.vfm_distance import VFMDistance
from mmseg.models.uda.views import make_views
from mmseg.system.errors import ConfigError


@UDA.register(
    inert=("imnet_feature_dist_scale_method", "debug_img_interval", "print_grad_magnitude")
)
class DACS(TrainingMethod):
    """Self-training on target images mixed with source classes.

    `model` is the student (trained and evaluated), `ema_model` the teacher (labels target images),
    `imnet_model` a frozen copy whose backbone only measures how far the student's features drift,
    and `mic` may hold a second teacher, which labels masked images.
    The keys of its config are those of `DACSSettings`.
    """

    settings_class = DACSSettings

    def __init__(
        self, model: Mapping[str, Any], max_iters: int | None = None, **settings: Any
    ) -> None:
        super().__init__(model, max_iters)
        self.settings = s = DACSSettings(**settings)
        self.views = make_views(s)
        self.teacher: Teacher | None = None
        if not s.source_only:
            self.ema_model = build_twin(model)
            self.teacher = Teacher(self.ema_model, *s.first_teacher)
        self.mic: MaskedConsistency | None = None
        if s.mask_mode is not None:
            self.mic = MaskedConsistency(s, lambda: build_twin(model))
        self.feature_distance: FeatureDistance | None = None
        if s.imnet_feature_dist_lambda > 0:
            self.imnet_model = build_twin(model)
            self.feature_distance = FeatureDistance(
                s.imnet_feature_dist_lambda,
                s.imnet_feature_dist_classes,
                s.imnet_feature_dist_scale_min_ratio,
                self.model.num_classes,
            )
        self.cdda: CDDA | None = None
        if s.uses_depth:
            self.cdda = CDDA(s, *load_source_crops(s, self.model.num_classes))
        self.vfm_distance: VFMDistance | None = None
        if s.vfm_feature_dist is not None:
            self.vfm_distance = VFMDistance(s, self.views, self.model)
        for loss in self.model.modules():
            if isinstance(loss, CrossEntropyLoss):
                loss.counts_all_processes = s.shares_statistics
        self.train()
        if s.joint_passes:
            require_joint_passes(self.model, self.mic is not None and self.mic.hides_inside)

    @classmethod
    def reads_depth(cls, section: Mapping[str, Any]) -> bool:
        """Tell whether the section describes CDDA."""
        return bool(section.get("matrix_path")) and not section.get("source_only")

    def init_weights(self) -> None:
        """Initialize the student and the frozen networks; the teacher copies at iteration 0."""
        super().init_weights()
        if self.feature_distance is not None:
            self.imnet_model.init_weights()
        if self.vfm_distance is not None:
            self.vfm_distance.init_weights()

    def prepare_autocast(self, dtype: torch.dtype) -> None:
        """Keep the ImageNet copy, which is no part of checkpoints, in half precision."""
        if self.feature_distance is not None:
            halve(self.imnet_model, dtype)

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Return those of the student, and of the projection of its features."""
        own = () if self.vfm_distance is None else self.vfm_distance.feat_project.parameters()
        return [*super().trainable_parameters(), *own]

    def make_draws(self, iteration: int, rank: int = 0, seed: int = 0) -> Draws:
        """Return the random choices of an iteration."""
        draws = super().make_draws(iteration, rank, seed)
        return replace(draws, shares_classes=self.settings.shares_classes)

    def train(self, mode: bool = True) -> "DACS":
        """Set the student's mode; the teachers and the ImageNet copy keep theirs."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train()
        if self.feature_distance is not None:
            self.imnet_model.eval()
        return self

    def describe(self) -> list[str]:
        """Tell which method runs, and whether it works as described or as released."""
        s = self.settings
        base = "MIC on DACS" if self.mic is not None else "DACS"
        base += f" self-training of {type(self.model).__name__}"
        if s.source_only:
            lines = ["Method: source only (uda.source_only=True); the target is not trained on"]
        elif self.cdda is not None:
            way = "as RELEASED (reference_quirks=True)" if s.reference_quirks else "as described"
            lines = [f"Method: CDDA on {base}, behaving {way}", self.cdda.describe()]
        else:
            ignored = [k for k in ("dataset", "reweight_threshold") if getattr(s, k) is not None]
            lines = [f"Method: {base}, without depth (no uda.matrix_path)"]
            lines += [f"uda.{k} has no effect without uda.matrix_path" for k in ignored]
        if s.joint_passes:
            lines.append("One pass of the backbone for all of the student's images (joint_passes)")
        lines += self.views.describe() + self._describe_teacher()
        parts = [part for part in (self.mic, self.vfm_distance) if part is not None]
        return lines + [line for part in parts for line in part.describe()]

    def _describe_teacher(self) -> list[str]:
        """Tell what VFM-UDA's teacher does otherwise."""
        s, lines = self.settings, []
        if self.teacher is not None and s.teacher_flip:
            lines.append("The teacher labels with the mean of an image and its mirror image")
        if self.teacher is not None and s.shares_classes:
            shared = "The weight of pseudo-labels, classes to paste and means of losses"
            lines.append(f"{shared} are those of all processes (VFM-UDA's: of each process)")
        elif self.teacher is not None and s.is_as_vfmuda:
            lines.append(
                "As RELEASED by VFM-UDA (reference_quirks=True): each process has its own weight "
                "of pseudo-labels, classes to paste and means of losses (V2), and flipped targets "
                "keep margins that are not flipped (V1)"
            )
        return lines

    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of one iteration to the student's."""
        torch.manual_seed(draws.torch_seed())  # dropout and stochastic depth
        source = data = UDABatch.from_loader(batch)
        step = Step(data, iteration, draws, self.start_output(iteration))
        passes = StudentPasses(self.model, step, self.settings.joint_passes)
        self._update_teachers(iteration)
        if self.teacher is None:
            pseudo = None
            self._train_on_source(passes)
        else:
            trust = self._find_trusted_pixels(data)
            pseudo = self.teacher.label(data.target_image, data.target_metas)
            step.output.show(target_image=data.target_image, pseudo_label=pseudo.label)
            match = None if self.cdda is None else self.cdda.match(step, pseudo)
            self._train_on_source(passes)  # while the decisions of the match are on their way
            if self.cdda is not None and match is not None:
                pseudo, source = self.cdda.refine(passes, match, pseudo, trust)
            pseudo = replace(pseudo, weight=pseudo.weight * trust)
            self._train_on_mix(passes, source, pseudo)
            if self.mic is not None:
                pseudo = self.mic.relabel(step, pseudo, trust)
        if self.mic is not None:
            self.mic.train_on(passes, pseudo)
        if self.vfm_distance is not None:
            self.vfm_distance.train_on(passes)
        passes.finish()
        return step.output

    def _update_teachers(self, iteration: int) -> None:
        """Move the teachers toward the student."""
        if self.teacher is not None:
            self.teacher.update(self.model, iteration)
        if self.mic is not None:
            self.mic.update_teacher(self.model, iteration)

    def _train_on_source(self, passes: StudentPasses) -> None:
        """Train with cross-entropy on the source and its features' distance to ImageNet's."""
        data, output = passes.step.data, passes.step.output
        image = self.views.source(passes.step)
        output.show(img_norm_cfg=data.metas[0].get("img_norm_cfg") if data.metas else None)
        output.show(source_image=image, source_label=data.label[:, 0])
        passes.train(image, partial(self._source_losses, passes.step, image))

    def _source_losses(self, step: Step, image: Tensor, **features: Any) -> dict[str, Any]:
        data, output = step.data, step.output
        options = {"return_logits": output.pictures is not None, "draws": step.draws, **features}
        options["return_feat"] = self.feature_distance is not None
        losses = self.model.forward_train(image, data.metas, data.label, **options)
        output.show_prediction(losses, "source")
        if self.feature_distance is not None:
            views = self.model.feature_views(losses.pop("features"), image, data.label)
            loss, pictures = self.feature_distance.of_views(views, self.imnet_model)
            losses["src.loss_imnet_feat_dist"] = loss
            output.show(**pictures)
        return losses

    def _find_trusted_pixels(self, data: UDABatch) -> Tensor:
        """Return (B, H, W) of 0/1, the target pixels whose pseudo-labels count."""
        (*_, height, width), (*_, rows, columns) = data.image.shape, data.target_image.shape
        if (height, width) != (rows, columns):
            metas = (data.metas, data.target_metas)
            source, target = (each[0].get("filename") if each else None for each in metas)
            raise ConfigError(
                "expected source and target samples of one size, because they are mixed, got "
                f"{width}x{height} of '{source}' and {columns}x{rows} of '{target}'; end both "
                "pipelines with RandomCrop and Pad to the same size."
            )
        s = self.settings
        if s.is_as_vfmuda:
            data = with_unflipped_margins(data)
        return trusted_pixels(data, s.pseudo_weight_ignore_top, s.pseudo_weight_ignore_bottom)

    def _train_on_mix(self, passes: StudentPasses, source: UDABatch, pseudo: PseudoLabel) -> None:
        """Paste half of the source classes onto the target, augment, and train on the result."""
        step, output = passes.step, passes.step.output
        chosen = step.draws.mix_classes(source.label).to(source.label.device)
        mask = class_mask(source.label, chosen)  # (B, 1, H, W)
        image = self.views.mixed(paste(mask, source.image, self.views.target(step)), step)
        label = paste(mask, source.label[:, 0], pseudo.label)  # (B, H, W)
        is_labeled = (source.label[:, 0] != IGNORE).to(pseudo.weight.dtype)
        weight = paste(mask, is_labeled, pseudo.weight)
        output.show(mixed_image=image, mixed_label=label, mixed_weight=weight)
        output.show(domain_mask=mask[:, 0].to(image.dtype))

        def losses(**features: Any) -> dict[str, Any]:
            options = {"return_logits": output.pictures is not None, "draws": step.draws}
            options |= {"seg_weight": weight, **features}
            losses = self.model.forward_train(image, source.metas, label[:, None], **options)
            output.show_prediction(losses, "mixed")
            return losses

        passes.train(image, losses, "mix.")
