"""Masked image consistency (MIC, Hoyer et al. 2023): predict the classes of hidden blocks.

Legend: B images of a batch, M masked images, H×W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmseg.config.registry import MASK_GENERATORS
from mmseg.config.values import Count, Share
from mmseg.models.layers import hide_pixels, size_of
from mmseg.models.losses import is_loss
from mmseg.models.uda.base import Metas, Step, StepOutput, UDABatch
from mmseg.models.uda.draws import Draws
from mmseg.models.uda.passes import StudentPasses
from mmseg.models.uda.settings import AUGMENTED, SOURCE, TARGET, SelfTrainingSettings
from mmseg.models.uda.teacher import PseudoLabel, Teacher
from mmseg.models.uda.views import make_views
from mmseg.system.errors import ConfigError

Size = tuple[int, int]  # rows, columns


@MASK_GENERATORS.register("block")
class BlockMasks:
    """Hide the share `mask_ratio` (0…1) of square blocks of `mask_block_size` pixels a side.

    Each block is hidden with the same probability. The pixels are those of the image, or with
    `at='inner'` those of what the backbone resizes it to (its `inner_size`).
    """

    def __init__(
        self,
        mask_ratio: Share,
        mask_block_size: Count,
        at: Literal["image", "inner"] = "image",
    ) -> None:
        self.mask_ratio, self.mask_block_size = mask_ratio, mask_block_size
        self.is_inside = at == "inner"

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """Return (M, 3, H, W) normalized images whose hidden pixels are 0."""
        count, _, height, width = image.shape
        self._require_blocks((height, width))
        kept = draws.block_mask(count, height, width, self.mask_ratio, self.mask_block_size)
        return image * kept.to(image.device, image.dtype, non_blocking=True)

    def inside(self, backbone: Any, image: Tensor, draws: Draws) -> Tensor:
        """Return (M, 1, rows, columns), 1 for the blocks that are kept and 0 for the others."""
        size = inner_size(backbone, image)
        self._require_blocks(size)
        rows, columns = (round(side / self.mask_block_size) for side in size)
        return draws.keep_grid(len(image), rows, columns, self.mask_ratio)

    def _require_blocks(self, size: Size) -> None:
        if round(min(size) / self.mask_block_size) == 0:
            raise ConfigError(
                "expected uda.mask_generator.mask_block_size to be at most as large as the crops "
                f"of {size[1]}x{size[0]}, got {self.mask_block_size}; use smaller blocks."
            )

    def __str__(self) -> str:
        place = " of the resized image" if self.is_inside else ""
        return f"{self.mask_ratio:.0%} of blocks of {self.mask_block_size} pixels{place} hidden"


@MASK_GENERATORS.register("token")
class TokenMasks:
    """Let a ViT see its mask token instead of the share `mask_ratio` (0…1) of its patches.

    Each patch is hidden with the same probability.
    """

    is_inside = True

    def __init__(self, mask_ratio: Share) -> None:
        self.mask_ratio = mask_ratio

    def inside(self, backbone: Any, image: Tensor, draws: Draws) -> Tensor:
        """Return (M, 1, rows, columns), 1 for the patches that are kept and 0 for the others."""
        if not hasattr(backbone, "mask_token"):
            raise ConfigError(
                "expected a backbone with a mask token for uda.mask_generator.type='token', got "
                f"{type(backbone).__name__} without; set mask_token=True of a TIMMBackbone."
            )
        patch = backbone.network.patch_embed.feat_ratio(as_scalar=False)
        rows, columns = (s // p for s, p in zip(inner_size(backbone, image), patch, strict=True))
        return draws.keep_grid(len(image), rows, columns, self.mask_ratio)

    def __str__(self) -> str:
        return f"{self.mask_ratio:.0%} of patches hidden"


def inner_size(backbone: Any, image: Tensor) -> Size:
    """Return the size that a backbone resizes images to; that of the images if it does not."""
    sides = getattr(getattr(backbone, "settings", None), "inner_size", None)
    return (image.shape[2], image.shape[3]) if sides is None else size_of(sides)


@dataclass(frozen=True)
class MaskedBatch:
    """Images to be masked, and the labels that the student should predict."""

    image: Tensor  # (M, 3, H, W) normalized
    metas: Metas
    label: Tensor  # (M, H, W) int64
    weight: Tensor | None  # (M, H, W) in [0, 1]; None counts every pixel fully


class SecondTeacher(nn.Module):
    """A teacher for masked images alone, whose network is saved as `mic.teacher.ema_model`.

    The arguments are those of `Teacher`.
    """

    def __init__(self, network: nn.Module, *arguments: Any) -> None:
        super().__init__()
        self.ema_model = network
        self.average = Teacher(network, *arguments)

    def train(self, mode: bool = True) -> "SecondTeacher":
        """Keep the network in the mode in which it labels."""
        super().train(mode)
        self.average.train()
        return self


class MaskedConsistency(nn.Module):
    """Train the student on images with hidden blocks.

    `mask_mode` chooses labeled source images (`separatesrc`), pseudo-labeled target images
    (`separatetrg`) or the first half of each (`separate`); `…aug` augments them first. The first
    teacher labels them, unless `mask_alpha` or `mask_pseudo_threshold` ask for another one, or the
    method has none (`has_own_teacher`); `make_network` builds the network of its own.
    """

    def __init__(
        self,
        settings: SelfTrainingSettings,
        make_network: Callable[[], Any],
        has_own_teacher: bool = False,
    ) -> None:
        super().__init__()
        assert settings.mask_mode is not None and settings.mask_generator is not None
        self.mode = settings.mask_mode.removesuffix(AUGMENTED)
        self.loss_weight = settings.mask_lambda
        self.hide_blocks = MASK_GENERATORS.build(settings.mask_generator)
        self.views = make_views(settings) if settings.mask_mode.endswith(AUGMENTED) else None
        self.teacher: SecondTeacher | None = None
        if (settings.has_second_teacher or has_own_teacher) and self.mode != SOURCE:
            self.teacher = SecondTeacher(make_network(), *settings.second_teacher)
        self.settings = settings

    def describe(self) -> list[str]:
        """Tell which images are masked, how, and who labels them."""
        s = self.settings
        labels = "the source" if self.mode == SOURCE else "the first teacher"
        if self.teacher is not None:
            alpha, threshold, *_ = s.second_teacher
            labels = f"its own teacher (alpha {alpha}, threshold {threshold})"
        masks = f"mask_mode={s.mask_mode!r}, {self.hide_blocks}"
        lines = [f"Masked consistency (MIC): {masks}, labels of {labels}"]
        if self.loss_weight == 0:
            lines.append("uda.mask_lambda=0: the main loss of masked images has no weight")
        if s.has_second_teacher and self.mode == SOURCE:
            lines.append(f"uda.mask_alpha and mask_pseudo_threshold have no effect with {SOURCE!r}")
        return lines

    def update_teacher(self, student: nn.Module, iteration: int) -> None:
        """Move the second teacher toward the student."""
        if self.teacher is not None:
            self.teacher.average.update(student, iteration)

    def relabel(self, step: Step, pseudo: PseudoLabel | None, trust: Tensor) -> PseudoLabel | None:
        """Return the pseudo-labels of masked images: `pseudo`, or those of a teacher of its own.

        The margins, `trust` (B, H, W) of 0/1, apply to its weights too.
        """
        if self.teacher is None:
            return pseudo
        data = step.data
        own = self.teacher.average.label(data.target_image, data.target_metas)
        step.output.show(masked_teacher_label=own.label)
        return replace(own, weight=own.weight * trust)

    def select(self, data: UDABatch, pseudo: PseudoLabel | None) -> MaskedBatch:
        """Return the images that the mode asks for, not yet augmented and masked."""
        source = MaskedBatch(data.image, data.metas, data.label[:, 0], None)
        if self.mode == SOURCE:
            return source
        assert pseudo is not None, "target images need pseudo-labels"
        target = MaskedBatch(data.target_image, data.target_metas, pseudo.label, pseudo.weight)
        return target if self.mode == TARGET else _first_halves(source, target)

    @property
    def hides_inside(self) -> bool:
        """Whether the backbone hides the blocks, not the image."""
        return getattr(self.hide_blocks, "is_inside", False)

    def train_on(self, passes: StudentPasses, pseudo: PseudoLabel | None) -> None:
        """Hide blocks of the images, and train the student on them.

        `pseudo` comes from `relabel`; it is None if only source images are masked.
        """
        student, step, output = passes.student, passes.step, passes.step.output
        batch = self.select(step.data, pseudo)
        image = batch.image
        if self.views is not None:
            image = self.views.masked(image, step)
        options: dict[str, Any] = {"draws": step.draws, "seg_weight": batch.weight}
        if self.hides_inside:
            kept = self.hide_blocks.inside(student.backbone, image, step.draws)
            options["keep_mask"], shown = kept, hide_pixels(image, kept)
        else:
            image = shown = self.hide_blocks(image, step.draws)
        output.show(masked_image=shown, masked_label=batch.label)
        losses = partial(self._losses, student, output, replace(batch, image=image), options)
        passes.train(image, losses, "masked.")

    def _losses(
        self,
        student: Any,
        output: StepOutput,
        batch: MaskedBatch,
        options: Mapping[str, Any],
        **features: Any,
    ) -> dict[str, Any]:
        """Return the losses on masked images.

        `mask_lambda` multiplies only the main loss, not those of HRDA's scales.
        """
        options = {"return_logits": output.pictures is not None, **options, **features}
        losses = student.forward_train(batch.image, batch.metas, batch.label[:, None], **options)
        main = ["decode.loss_seg"]
        if main[0] not in losses:  # DAHead has one loss for each of its three outputs
            main = [key for key in losses if key.startswith("decode.") and is_loss(key)]
        losses |= {key: self.loss_weight * losses[key] for key in main}
        output.show_prediction(losses, "masked")
        return losses


def _first_halves(source: MaskedBatch, target: MaskedBatch) -> MaskedBatch:
    """Join the first half of each batch, at least one image, as one batch."""
    half = slice(max(1, len(source.image) // 2))
    assert target.weight is not None
    weight = target.weight[half]
    return MaskedBatch(
        torch.cat([source.image[half], target.image[half]]),
        [*source.metas[half], *target.metas[half]],
        torch.cat([source.label[half], target.label[half]]),
        torch.cat([torch.ones_like(weight), weight]),
    )
