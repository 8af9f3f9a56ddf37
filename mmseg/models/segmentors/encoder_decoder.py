"""Backbone + decode head: train on labels, predict label maps.

Legend: N images, C classes, H×W pixels of the network's input.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mmseg.config.checking import checked
from mmseg.config.registry import BACKBONES, HEADS, NECKS, SEGMENTORS
from mmseg.config.values import Count, Pair, Section, Text
from mmseg.models.layers import at_least_single, resize
from mmseg.models.segmentors.slide_inference import (
    averages_softmax,
    check_windows,
    slide_logits,
    windows_per_call,
)
from mmseg.models.segmentors.training_parts import BoxDraws, FeatureView, TrainingOutputs
from mmseg.system.errors import ConfigError

Metas = list[dict[str, Any]]
HeadCfg = Annotated[Section, HEADS.checked]
FLIP_AXES = {"horizontal": 3, "vertical": 2}


@dataclass(frozen=True)
class TestKeys:
    """How images are predicted: as a whole, or in windows."""

    mode: Literal["whole", "slide"]
    crop_size: Pair | None = None  # (rows, columns) of a window
    stride: Pair | None = None  # between windows
    batched_slide: bool = False
    window_batch_size: Count | None = None  # see `windows_per_call`
    average: Literal["logits", "softmax"] = "logits"  # of windows that overlap


@SEGMENTORS.register()
class EncoderDecoder(TrainingOutputs, nn.Module):
    """A segmentation network.

    Args:
        backbone, decode_head, neck: configs of the parts.
        auxiliary_head: config (or list of configs) of heads that are only trained and never
            predict. Their losses are called `aux.*` (`aux_0.*`, ... for a list).
        train_cfg: free for training methods (`work_dir`, `log_config`).
        test_cfg: see `TestKeys`; None means `mode='whole'`.
        pretrained: file with the backbone's ImageNet weights, read by `init_weights`.
    """

    def __init__(
        self,
        backbone: Annotated[Section, BACKBONES.checked],
        decode_head: HeadCfg,
        neck: Annotated[Section, NECKS.checked] | None = None,
        auxiliary_head: HeadCfg | Sequence[HeadCfg] | None = None,
        train_cfg: Section | None = None,
        test_cfg: Annotated[Section, checked(TestKeys, "test_cfg")] | None = None,
        pretrained: Text | None = None,
    ) -> None:
        super().__init__()
        if pretrained is not None and backbone.get("pretrained") is not None:
            raise ConfigError(
                f"expected one `pretrained`, got {pretrained!r} for the model and "
                f"{backbone['pretrained']!r} for its backbone; drop one."
            )
        self.backbone = BACKBONES.build(backbone, pretrained=pretrained)
        self.neck = NECKS.build(neck) if neck is not None else None
        self.decode_head = HEADS.build(decode_head)
        self.num_classes: int = self.decode_head.num_classes
        self.align_corners: bool = self.decode_head.align_corners
        self.auxiliary_head: nn.Module | None = None
        if isinstance(auxiliary_head, Mapping):
            self.auxiliary_head = HEADS.build(auxiliary_head)
        elif auxiliary_head is not None:
            self.auxiliary_head = nn.ModuleList(HEADS.build(head) for head in auxiliary_head)
        self.train_cfg: Mapping[str, Any] = train_cfg if train_cfg is not None else {}
        self.test_cfg: Mapping[str, Any] = test_cfg or {"mode": "whole"}
        check_windows(self.test_cfg)

    def init_weights(self) -> None:
        """Load `pretrained` into the backbone and draw the initial weights of the other parts."""
        parts: list[Any] = [self.backbone, self.neck, self.decode_head]
        for part in parts + list(self.auxiliary_heads().values()):
            if hasattr(part, "init_weights"):
                part.init_weights()

    def extract_feat(self, img: Tensor) -> list[Tensor]:
        """Map images (N, 3, H, W) to the feature maps that the heads see."""
        features = self.backbone(img)
        return features if self.neck is None else self.neck(features)

    def encode_decode(
        self, img: Tensor, img_metas: Metas | None = None, upscale_pred: bool = True
    ) -> Tensor:
        """Return logits (N, C, H, W), or at the head's own size without `upscale_pred`."""
        features = self.extract_feat(img)
        logits = self.decode_head.forward_test(features, img_metas, self.test_cfg)
        return self._upscale(logits, img) if upscale_pred else logits

    def generate_pseudo_label(self, img: Tensor, img_metas: Metas | None = None) -> Tensor:
        """Return the logits (N, C, H, W) that a teacher labels target images with."""
        return self.encode_decode(img, img_metas)

    def _upscale(self, logits: Tensor, img: Tensor) -> Tensor:
        return resize(logits, (img.shape[2], img.shape[3]), self.align_corners)

    # Training

    def forward_train(
        self,
        img: Tensor,
        img_metas: Metas | None,
        gt_semantic_seg: Tensor,
        seg_weight: Tensor | None = None,
        return_feat: bool = False,
        return_logits: bool = False,
        draws: BoxDraws | None = None,
        keep_mask: Tensor | None = None,
        features: Any = None,
    ) -> dict[str, Any]:
        """Return the losses (see `is_loss`) and accuracies of a batch, 0-dim on its device.

        They are `decode.loss_seg`, `decode.acc_seg` and the same per auxiliary head.

        Args:
            img: (N, 3, H, W) normalized.
            img_metas: one dict per image.
            gt_semantic_seg: (N, 1, H, W) int64 class indices or 255.
            seg_weight: (N, H, W) weight per pixel of the loss.
            return_feat: add `features`, the input of `feature_views`.
            return_logits: add `decode.logits`, the head's output (N, C, h, w), and the same per
                auxiliary head.
            draws: unused here; networks that look at a part of the image choose it from these.
            keep_mask: (N, 1, h, w) of 0 and 1, what the backbone hides and keeps; it says of what.
            features: of the images, from `joint_features`; None computes them.
        """
        features = self.train_features(img, keep_mask) if features is None else features
        result: dict[str, Any] = {"features": features} if return_feat else {}
        arguments = (features, img_metas, gt_semantic_seg, self.train_cfg)
        # A user's own `forward_train` may lack what is not asked of it.
        weights = {} if seg_weight is None else {"seg_weight": seg_weight}
        wanted = {"return_logits": True} if return_logits else {}
        values = self.decode_head.forward_train(*arguments, **weights, **wanted)
        result |= {f"decode.{key}": value for key, value in values.items()}
        for name, head in self.auxiliary_heads().items():
            values = head.forward_train(*arguments, **weights, **wanted)
            result |= {f"{name}.{key}": value for key, value in values.items()}
        return result

    def feature_views(self, features: Any, img: Tensor, label: Tensor) -> list[FeatureView]:
        """Return what to compare with the features of another backbone.

        `features` are those of `forward_train(img, ..., return_feat=True)`; img is (N, 3, H, W),
        label (N, 1, H, W).
        """
        return [FeatureView(features[-1], img, label)]

    def auxiliary_heads(self) -> dict[str, Any]:
        """Return the auxiliary heads by the prefix of their losses."""
        if self.auxiliary_head is None:
            return {}
        if isinstance(self.auxiliary_head, nn.ModuleList):
            return {f"aux_{i}": head for i, head in enumerate(self.auxiliary_head)}
        return {"aux": self.auxiliary_head}

    # Prediction

    def slide_inference(self, img: Tensor, img_metas: Metas, rescale: bool) -> Tensor:
        """Return the mean over overlapping windows of what `average` says (see `slide_logits`)."""

        def predict(window: Tensor) -> Tensor:
            logits = at_least_single(self.encode_decode(window, img_metas))
            return logits.softmax(1) if averages_softmax(self.test_cfg) else logits

        return self._to_original(self._slide(predict, img), img_metas, rescale)

    @property
    def window_size(self) -> Sequence[int] | None:
        """Rows and columns of what the backbone sees of a window; None without windows."""
        return self.test_cfg.get("crop_size")

    def _slide(self, predict: Callable[[Tensor], Tensor], img: Tensor) -> Tensor:
        """Average the predictions on the windows of `test_cfg`."""
        crop_size, stride = (tuple(self.test_cfg[key]) for key in ("crop_size", "stride"))
        at_once = windows_per_call(self.test_cfg, self.window_size, img.device)
        return slide_logits(predict, img, crop_size, stride, at_once)

    def whole_inference(self, img: Tensor, img_metas: Metas, rescale: bool) -> Tensor:
        """Return logits of the whole image in one pass."""
        logits = at_least_single(self.encode_decode(img, img_metas))
        return self._to_original(logits, img_metas, rescale)

    def _to_original(self, logits: Tensor, img_metas: Metas, rescale: bool) -> Tensor:
        """Resize logits to the size that the image had on disk, if `rescale`."""
        if not rescale:
            return logits
        return resize(logits, tuple(img_metas[0]["ori_shape"][:2]), self.align_corners)

    def inference(self, img: Tensor, img_metas: Metas, rescale: bool = True) -> Tensor:
        """Return class probabilities as at test time, with flips undone.

        The images (N, 3, H, W) have the same original size and flip; there is one dict for each,
        with `ori_shape` (H', W', ...), `flip` and `flip_direction`. `rescale` chooses
        (N, C, H', W') instead of (N, C, H, W).
        """
        shapes = {tuple(meta["ori_shape"][:2]) for meta in img_metas} if rescale else set()
        if len(shapes) > 1:
            raise ValueError(
                f"expected images of one original size in a batch, got {sorted(shapes)}; "
                "predict them one by one."
            )
        infer = self.slide_inference if self.test_cfg["mode"] == "slide" else self.whole_inference
        scores = infer(img, img_metas, rescale)
        scores = scores if averages_softmax(self.test_cfg) else scores.softmax(dim=1)
        return self._unflipped(scores, img_metas)

    def _unflipped(self, maps: Tensor, img_metas: Metas) -> Tensor:
        """Turn (N, C, H, W) back if the images were mirrored."""
        if not img_metas or not img_metas[0].get("flip"):
            return maps
        direction = img_metas[0].get("flip_direction") or "horizontal"
        if direction not in FLIP_AXES:
            raise ValueError(
                f"expected a flip_direction among {', '.join(FLIP_AXES)}, got {direction!r}; "
                "change the test pipeline."
            )
        return maps.flip(FLIP_AXES[direction])

    @torch.no_grad()
    def simple_test(self, img: Tensor, img_metas: Metas, rescale: bool = True) -> list[np.ndarray]:
        """Return the N label maps (H', W') of a batch of images."""
        return list(self.inference(img, img_metas, rescale).argmax(dim=1).cpu().numpy())

    @torch.no_grad()
    def aug_test(
        self, imgs: Sequence[Tensor], img_metas: Sequence[Metas], rescale: bool = True
    ) -> list[np.ndarray]:
        """Return the label maps of N images, averaged over several augmented versions of each."""
        if not rescale:
            raise ValueError(
                "expected rescale=True for several augmentations, got False; their probabilities "
                "can only be averaged at the original size."
            )
        return list(self.summed_scores(imgs, img_metas).argmax(dim=1).cpu().numpy())

    def summed_scores(self, imgs: Sequence[Tensor], img_metas: Sequence[Metas]) -> Tensor:
        """Return the sum of the class probabilities (N, C, H', W') of augmented versions."""
        total = self.inference(imgs[0], img_metas[0])
        for img, metas in zip(imgs[1:], img_metas[1:], strict=True):
            total += self.inference(img, metas)
        return total

    def forward_test(
        self, imgs: Sequence[Tensor], img_metas: Sequence[Metas], rescale: bool = True
    ) -> list[np.ndarray]:
        """Predict from one entry per augmentation: images (N, 3, H, W) and their N metas."""
        if not isinstance(imgs, list | tuple) or not isinstance(img_metas, list | tuple):
            raise TypeError(
                f"expected lists with one entry per augmentation, got {type(imgs).__name__} and "
                f"{type(img_metas).__name__}; wrap a single image as img=[img], img_metas=[metas]."
            )
        if len(imgs) != len(img_metas) or not imgs:
            raise ValueError(
                f"expected as many images as metas, got {len(imgs)} and {len(img_metas)}; "
                "give one list of metas per augmentation."
            )
        if len(imgs) == 1:
            return self.simple_test(imgs[0], img_metas[0], rescale)
        return self.aug_test(imgs, img_metas, rescale)

    def forward(self, img: Any, img_metas: Any, return_loss: bool = True, **kwargs: Any) -> Any:
        """Call `forward_train`, or with `return_loss=False` `forward_test`."""
        if return_loss:
            return self.forward_train(img, img_metas, **kwargs)
        return self.forward_test(img, img_metas, **kwargs)
