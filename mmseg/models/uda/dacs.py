"""Self-training with class mixing (DACS), DAFormer's feature distance, and CDDA's depth metric.

`DACS.accumulate_gradients` reads as the algorithm; every phase is a method of its own.

Legend: B images, C classes, H×W pixels.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmseg.distributed import barrier
from mmseg.models.uda.base import StepOutput, TrainingMethod, UDABatch
from mmseg.models.uda.depthmetric import DepthMatch, DepthMetric, soft_cross_entropy
from mmseg.models.uda.draws import Draws
from mmseg.models.uda.feature_distance import FeatureDistance
from mmseg.models.uda.margins import trusted_pixels
from mmseg.models.uda.mixing import StrongAugmentation, class_mask, paste
from mmseg.models.uda.settings import DACSSettings
from mmseg.models.uda.source_crops import build_depth_metric
from mmseg.models.uda.teacher import PseudoLabel, Teacher
from mmseg.registry import SEGMENTORS, UDA, ConfigError


@UDA.register(
    inert=("imnet_feature_dist_scale_method", "debug_img_interval", "print_grad_magnitude")
)
class DACS(TrainingMethod):
    """Self-training on target images mixed with source classes.

    `model` is the student (trained and evaluated), `ema_model` the teacher (labels target images),
    `imnet_model` a frozen copy whose backbone only measures how far the student's features move.

    Args:
        model: config of the segmentor.
        max_iters: unused; every method is told.
        settings: see `DACSSettings`.
    """

    settings_class = DACSSettings

    def __init__(
        self, model: Mapping[str, Any], max_iters: int | None = None, **settings: Any
    ) -> None:
        super().__init__(model)
        self.settings = s = DACSSettings(**settings)
        self.augment = StrongAugmentation(
            s.color_jitter_probability, s.color_jitter_strength, s.blur
        )
        self.teacher: Teacher | None = None
        if not s.source_only:
            self.ema_model = _build_twin(model)
            self.teacher = Teacher(self.ema_model, s.alpha, s.pseudo_threshold)
        self.feature_distance: FeatureDistance | None = None
        if s.imnet_feature_dist_lambda > 0:
            self.imnet_model = _build_twin(model)
            self.feature_distance = FeatureDistance(
                s.imnet_feature_dist_lambda,
                s.imnet_feature_dist_classes,
                s.imnet_feature_dist_scale_min_ratio,
                self.model.num_classes,
            )
        self.depth_metric: DepthMetric | None = None
        if s.uses_depth:
            self.depth_metric, self.crops = build_depth_metric(s, self.model.num_classes)
        self.train()

    def init_weights(self) -> None:
        """Initialize the student and the ImageNet copy; the teacher copies at iteration 0."""
        super().init_weights()
        if self.feature_distance is not None:
            self.imnet_model.init_weights()

    def train(self, mode: bool = True) -> "DACS":
        """Set the student's mode; teacher and ImageNet copy always stay in their own."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train()
        if self.feature_distance is not None:
            self.imnet_model.eval()
        return self

    def describe(self) -> list[str]:
        """Say which method runs, and whether it does as described or as released."""
        s = self.settings
        if s.source_only:
            return ["Method: source only (uda.source_only=True); the target is not trained on"]
        network = type(self.model).__name__
        if self.depth_metric is None:
            ignored = [k for k in ("dataset", "reweight_threshold") if getattr(s, k) is not None]
            lines = [f"Method: DACS self-training of {network}, without depth (no uda.matrix_path)"]
            return lines + [f"uda.{k} has no effect without uda.matrix_path" for k in ignored]
        way = "as RELEASED (reference_quirks=True)" if s.reference_quirks else "as described"
        return [
            f"Method: CDDA on DACS self-training of {network}, behaving {way}",
            f"Depth statistics: {self.depth_metric.num_crops} source crops of {s.dataset} "
            f"({s.matrix_path})",
        ]

    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of one iteration to the student's."""
        data = UDABatch.from_loader(batch)
        torch.manual_seed(draws.torch_seed())  # dropout and stochastic depth
        output = self.start_output(iteration)
        output.show(img_norm_cfg=data.metas[0].get("img_norm_cfg") if data.metas else None)
        if self.teacher is not None:
            self.teacher.update(self.model, iteration)
        self._train_on_source(data, output)
        if self.teacher is None:
            return output
        _require_one_size(data)
        pseudo = self.teacher.label(data.target_image, data.target_metas)
        output.show(target_image=data.target_image, pseudo_label=pseudo.label)
        s = self.settings
        trust = trusted_pixels(data, s.pseudo_weight_ignore_top, s.pseudo_weight_ignore_bottom)
        if self.depth_metric is not None:
            match = self._match_depth(data, pseudo, iteration, output)
            guidance_runs, indices = _read_decisions(match)
            if guidance_runs:
                self._train_on_guidance(data, match, trust, output)
            pseudo = replace(pseudo, weight=match.weight)
            data = self._replace_source(data, indices, output)
        self._train_on_mix(data, replace(pseudo, weight=pseudo.weight * trust), draws, output)
        return output

    def _train_on_source(self, data: UDABatch, output: StepOutput) -> None:
        """Cross-entropy on the source, and the distance of its features to ImageNet's."""
        measures = self.feature_distance is not None
        losses = self.model.forward_train(
            data.image,
            data.metas,
            data.label,
            return_feat=measures,
            return_logits=output.pictures is not None,
        )
        features = losses.pop("features", None)
        output.show(source_image=data.image, source_label=data.label[:, 0])
        _show_prediction(losses, output, "source_prediction")
        if self.feature_distance is not None:
            with torch.no_grad():
                imagenet_features = self.imnet_model.extract_feat(data.image)
            loss, pictures = self.feature_distance(features[-1], imagenet_features[-1], data.label)
            losses["src.loss_imnet_feat_dist"] = loss
            output.show(**pictures)
        output.backward(losses)

    def _match_depth(
        self, data: UDABatch, pseudo: PseudoLabel, iteration: int, output: StepOutput
    ) -> DepthMatch:
        """Find the source crops that are alike in depth, and log what follows."""
        assert self.depth_metric is not None
        if data.target_depth is None:
            raise ConfigError(
                "expected target depth in the batch, got none; set data.train.target.dep_dir, or "
                "remove uda.matrix_path to train without depth."
            )
        match = self.depth_metric(
            pseudo.label, pseudo.weight, pseudo.confident, data.target_depth, iteration
        )
        is_reweighted = (match.source_index >= 0).float().mean()
        is_relabeled = (match.guidance_table > 0).flatten(1).any(1) & match.guidance_runs
        output.log(
            {
                "cdda.reweighted": is_reweighted,
                "cdda.relabeled": is_relabeled.float().mean(),
                "cdda.replaced": is_reweighted,
                "cdda.similarity": match.similarity.mean(),
                "cdda.weight": match.weight.mean(),
            }
        )
        output.show(target_depth=data.target_depth, reweighted=match.weight)
        return match

    def _train_on_guidance(
        self, data: UDABatch, match: DepthMatch, trust: Tensor, output: StepOutput
    ) -> None:
        """Soft cross-entropy on the un-mixed target, with the classes that depth suggests."""
        quirks = self.settings.reference_quirks
        logits = self.model.encode_decode(data.target_image, data.target_metas)
        weight = match.soft_weight if quirks else match.soft_weight * trust
        loss = soft_cross_entropy(logits, match.make_raw_label(), weight, quirks)
        output.backward({"tgt.loss": loss})

    def _replace_source(self, data: UDABatch, indices: list[int], output: StepOutput) -> UDABatch:
        """Return the batch with the matched crops as the source of the mixing."""
        if all(index < 0 for index in indices):
            return data
        images, labels = list(data.image), list(data.label)
        normalization = data.normalization()
        for position, index in enumerate(indices):
            if index < 0:
                continue
            bgr, label = self.crops.read(index)
            if label.shape != labels[position].shape[1:]:
                raise ValueError(
                    f"expected source crops of {tuple(labels[position].shape[1:])} pixels, got "
                    f"{label.shape} for crop {index} in '{self.settings.croped_labels_path}'; run "
                    "run_seg.py again with this config."
                )
            rgb = torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1)
            images[position] = normalization.from_bytes(rgb.to(data.image.device))
            labels[position] = torch.from_numpy(label).to(data.label)[None]
        replaced = replace(data, image=torch.stack(images), label=torch.stack(labels))
        output.show(matched_image=replaced.image, matched_label=replaced.label[:, 0])
        return replaced

    def _train_on_mix(
        self, data: UDABatch, pseudo: PseudoLabel, draws: Draws, output: StepOutput
    ) -> None:
        """Paste half of the source classes on the target, augment, and train on the result."""
        chosen = draws.mix_classes(data.label).to(data.label.device)
        mask = class_mask(data.label, chosen)  # (B, 1, H, W)
        image = paste(mask, data.image, data.target_image)
        image = self.augment(image, draws.augmentation(), data.normalization)
        label = paste(mask, data.label[:, 0], pseudo.label)  # (B, H, W)
        weight = paste(mask, torch.ones_like(pseudo.weight), pseudo.weight)
        losses = self.model.forward_train(
            image,
            data.metas,
            label[:, None],
            seg_weight=weight,
            return_logits=output.pictures is not None,
        )
        output.show(mixed_image=image, mixed_label=label, mixed_weight=weight)
        output.show(domain_mask=mask[:, 0].to(image.dtype))
        _show_prediction(losses, output, "mixed_prediction")
        output.backward(losses, "mix.")


def _build_twin(model: Mapping[str, Any]) -> Any:
    """Build another network like the student that never gets gradients."""
    return SEGMENTORS.build(copy.deepcopy(model)).requires_grad_(False)


def _require_one_size(data: UDABatch) -> None:
    """Raise unless source and target can be mixed."""
    sizes = [tuple(image.shape[-2:]) for image in (data.image, data.target_image)]
    if sizes[0] != sizes[1]:
        names = [m[0].get("filename") if m else None for m in (data.metas, data.target_metas)]
        raise ConfigError(
            "expected source and target samples of one size, which are mixed, got "
            + " and ".join(f"{w}x{h} of '{n}'" for (h, w), n in zip(sizes, names, strict=True))
            + "; end both pipelines with RandomCrop and Pad of one size."
        )


def _read_decisions(match: DepthMatch) -> tuple[bool, list[int]]:
    """Return whether guidance runs, and the source crops to use.

    This is the one copy from the device that an iteration needs.
    """
    barrier()  # on a GPU, reading waits for all processes; see mmseg.distributed
    runs = match.guidance_runs.long().view(1)
    first, *indices = torch.cat([runs, match.source_index]).tolist()
    return bool(first), indices


def _show_prediction(losses: dict[str, Tensor], output: StepOutput, name: str) -> None:
    """Move the logits out of the losses and keep their classes for the debug panel."""
    logits = losses.pop("decode.logits", None)
    if logits is not None:
        output.show(**{name: logits.detach().argmax(1)})
