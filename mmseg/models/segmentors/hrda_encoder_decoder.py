"""HRDA (Hoyer et al. 2022): a wide context at low and a small detail at high resolution, fused.

Legend: N images, C classes, H×W pixels of the network's input, h×w cells of the fused map. Boxes
are (y1, y2, x1, x2), ends exclusive.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmseg.config.registry import SEGMENTORS
from mmseg.config.values import Count, Pair, Positive
from mmseg.models.decode_heads.hrda_head import HRDAHead, ScaleLogits
from mmseg.models.layers import Box, cut, resize
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder, Metas
from mmseg.models.segmentors.joint_features import joint_features
from mmseg.models.segmentors.slide_inference import Windows, windows_per_call
from mmseg.models.segmentors.training_parts import (
    BoxDraws,
    FeatureView,
    HRDAFeatures,
    random_box,
)
from mmseg.system.errors import ConfigError

ALL = "all"


@SEGMENTORS.register()
class HRDAEncoderDecoder(EncoderDecoder):
    """A network that looks at images in two resolutions.

    The context is the image at the lower scale. The detail is a window of the image itself: a
    random one in training; for predictions, as many windows as cover the image.

    Args:
        scales: of context and detail, in any order. The detail's is 1.
        hr_crop_size: (rows, columns) of a detail window, at most those of the image.
        feature_scale: which features are compared with other backbones': the context's (its scale,
            the default), or 'all' for both.
        crop_coord_divisible: offsets of the random window are multiples of this. Choose a
            multiple of the head's output stride divided by the lower scale.
        hr_slide_inference: predict the detail in windows of `hr_crop_size` instead of at once.
        hr_slide_overlapping: whether those windows overlap by half.
        blur_hr_crop: whether to blur the detail like a context of half the size.
        kwargs: as for `EncoderDecoder`, with an HRDAHead as `decode_head`. In eval mode,
            `test_cfg.window_batch_size` also limits the detail windows per call.
    """

    decode_head: HRDAHead

    def __init__(
        self,
        scales: Annotated[Sequence[Positive], Field(min_length=2, max_length=2)],
        hr_crop_size: Pair,
        feature_scale: Positive | Literal["all"] | None = None,
        crop_coord_divisible: Count = 1,
        hr_slide_inference: bool = False,
        hr_slide_overlapping: bool = True,
        blur_hr_crop: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max(scales) != 1:
            raise ConfigError(
                "HRDAEncoderDecoder: expected the scales of context and detail, the larger one 1, "
                f"got {list(scales)}; HRDA has [1, 0.5]."
            )
        self.context_scale = min(scales)
        self.feature_scale = self.context_scale if feature_scale is None else feature_scale
        self.hr_crop_size = (int(hr_crop_size[0]), int(hr_crop_size[1]))
        self.crop_coord_divisible, self.blur_hr_crop = crop_coord_divisible, blur_hr_crop
        self.hr_slide_inference = hr_slide_inference
        self.hr_slide_overlapping = hr_slide_overlapping
        self._check()

    def _check(self) -> None:
        if not isinstance(self.decode_head, HRDAHead) or self.auxiliary_head is not None:
            raise ConfigError(
                "HRDAEncoderDecoder: expected a decode_head of type 'HRDAHead' and no "
                "auxiliary_head; name the type of the head as single_scale_head."
            )
        if self.feature_scale not in (self.context_scale, ALL):
            raise ConfigError(
                f"HRDAEncoderDecoder: expected feature_scale {self.context_scale}, which is the "
                f"lower of the scales, or 'all', got {self.feature_scale!r}."
            )
        unit = self.decode_head.output_stride
        if self.hr_slide_inference and any(n % unit for n in (*self.hr_crop_size, *self._stride)):
            raise ConfigError(
                f"HRDAEncoderDecoder: expected hr_crop_size and the distance of its windows "
                f"{self._stride} as multiples of the head's output stride {unit}, got "
                f"{self.hr_crop_size}; change it."
            )

    @property
    def _stride(self) -> tuple[int, int]:
        """Distance (rows, columns) between the windows of a prediction."""
        rows, columns = self.hr_crop_size
        return (rows // 2, columns // 2) if self.hr_slide_overlapping else (rows, columns)

    @property
    def window_size(self) -> Sequence[int] | None:
        """Rows and columns of what the backbone sees of a window."""
        return self.hr_crop_size if self.hr_slide_inference else super().window_size

    # What the scales see

    def context_image(self, img: Tensor) -> Tensor:
        """Return the image (N, 3, H, W) at the lower scale."""
        size = (int(img.shape[2] * self.context_scale), int(img.shape[3] * self.context_scale))
        return resize(img, size, self.align_corners)

    def detail_image(self, img: Tensor) -> Tensor:
        """Return the image (N, 3, H, W) that the detail is cut from, of the same size."""
        if not self.blur_hr_crop:
            return img
        height, width = img.shape[2:]
        small = resize(img, (height // 2, width // 2), self.align_corners)
        return resize(small, (height, width), self.align_corners)

    def draw_box(self, img: Tensor, draws: BoxDraws | None = None) -> Box:
        """Choose the detail box of a batch, from `draws` or from torch's random numbers."""
        height, width = img.shape[2:]
        crop_box = random_box if draws is None else draws.crop_box
        y1, y2, x1, x2 = crop_box(height, width, self.hr_crop_size, self.crop_coord_divisible)
        return y1, min(y2, height), x1, min(x2, width)

    def _features(self, img: Tensor, box: Box) -> HRDAFeatures:
        """Return the features of the context and of the detail in the box."""
        images = self.context_image(img), cut(self.detail_image(img), box)
        return HRDAFeatures(*joint_features(self, *images), box=box)

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
        features: HRDAFeatures | None = None,
    ) -> dict[str, Any]:
        """Return the losses of a batch; the arguments are those of `EncoderDecoder.forward_train`.

        `draws` chooses the detail box, `features` are an `HRDAFeatures`, `decode.logits` are the
        fused ones, and `return_logits` also adds `decode.pictures`. The losses are `decode.*`;
        there are `decode.hr.*` and `decode.lr.*` where their weights are positive. There is no
        `keep_mask` here.
        """
        if keep_mask is not None:
            raise ConfigError(
                "expected a network of one scale (EncoderDecoder), whose backbone hides parts of "
                "the image, got HRDA. Use one, or a mask of the image's pixels."
            )
        features = features or self._features(img, self.draw_box(img, draws))
        output = self._fuse(features, img)
        losses = self.decode_head.losses(output, gt_semantic_seg, seg_weight)
        result: dict[str, Any] = {f"decode.{key}": value for key, value in losses.items()}
        if return_feat:
            result["features"] = features
        if return_logits:
            result["decode.logits"] = output.fused
            result["decode.pictures"] = _pictures(output, gt_semantic_seg)
        return result

    def train_logits(
        self,
        img: Tensor,
        img_metas: Metas | None = None,
        draws: BoxDraws | None = None,
        features: HRDAFeatures | None = None,
    ) -> Tensor:
        """Return the fused logits (N, C, h, w) that `forward_train` computes its loss from."""
        features = features or self._features(img, self.draw_box(img, draws))
        return self._fuse(features, img).fused

    def joint_features(
        self, images: Sequence[Tensor], draws: BoxDraws | None = None
    ) -> list[HRDAFeatures]:
        """Return the features of several batches (N, 3, H, W), each with its own detail box."""
        boxes = [self.draw_box(image, draws) for image in images]
        contexts = [self.context_image(image) for image in images]
        details = [cut(self.detail_image(i), box) for i, box in zip(images, boxes, strict=True)]
        found = joint_features(self, *contexts, *details)
        parts = zip(found[: len(images)], found[len(images) :], boxes, strict=True)
        return [HRDAFeatures(*part) for part in parts]

    def train_outputs(
        self, img: Tensor, img_metas: Metas | None = None, draws: BoxDraws | None = None
    ) -> dict[str, Tensor]:
        """Return the fused logits (N, C, h, w), named as by `forward_train`."""
        return {"decode.logits": self.train_logits(img, img_metas, draws)}

    def at_output_size(self, logits: Tensor, img: Tensor) -> Tensor:
        """Resize logits to where methods compare those of two images: half of its size."""
        return resize(logits, (img.shape[2] // 2, img.shape[3] // 2), self.align_corners)

    def _fuse(self, features: HRDAFeatures, img: Tensor) -> ScaleLogits:
        return self.decode_head(
            features.context,
            lambda: self.decode_head.single_scale(features.detail),
            features.box,
            (img.shape[2], img.shape[3]),
        )

    def feature_views(
        self, features: HRDAFeatures, img: Tensor, label: Tensor
    ) -> list[FeatureView]:
        """Return the context's view and, with `feature_scale='all'`, the detail's."""
        views = [FeatureView(features.context[-1], self.context_image(img), label)]
        if self.feature_scale == ALL:
            detail = cut(self.detail_image(img), features.box)
            views.append(FeatureView(features.detail[-1], detail, cut(label, features.box)))
        return views

    # Prediction

    def encode_decode(
        self, img: Tensor, img_metas: Metas | None = None, upscale_pred: bool = True
    ) -> Tensor:
        """Return fused logits (N, C, H, W), or (N, C, h, w) without `upscale_pred`.

        In train mode, all detail windows go through in one call, because batch norm needs them.
        """
        fused = self._predict(img).fused
        return self._upscale(fused, img) if upscale_pred else fused

    def attention_map(
        self, img: Tensor, img_metas: Metas | None = None, rescale: bool = False
    ) -> Tensor:
        """Return how much the prediction relies on the detail, (N, H, W) in [0, 1].

        This is Σ_c a_c·softmax(fused)_c, computed like `inference`.
        """

        def attend(window: Tensor) -> Tensor:
            return self._upscale(_expected_attention(self._predict(window)), window)

        result = self._slide(attend, img) if self.test_cfg["mode"] == "slide" else attend(img)
        result = self._to_original(result, img_metas or [], rescale)
        return self._unflipped(result, img_metas or [])[:, 0]

    def _predict(self, img: Tensor) -> ScaleLogits:
        """Fuse the context with details of the whole image."""
        parts, (height, width) = self._prediction_parts(img), img.shape[2:]
        return self.decode_head(*parts, (0, height, 0, width), (height, width))

    def _prediction_parts(self, img: Tensor) -> tuple[list[Tensor], Callable[[], Tensor]]:
        """Return the context's features, and what returns the detail's logits (N, C, h, w).

        Of the windows that these are averaged over, the first see the backbone with the context.
        """
        small, unit = self.context_image(img), self.decode_head.output_stride
        height, width = img.shape[2:]
        if not self.training and self.decode_head.fixed_attention == 0:  # the detail has no effect
            shape = (img.shape[0], self.num_classes, -(-height // unit), -(-width // unit))
            return self.extract_feat(small), lambda: img.new_zeros(shape)
        detail = self.detail_image(img)
        if not self.hr_slide_inference:
            context, whole = joint_features(self, small, detail)
            return context, lambda: self.decode_head.single_scale(whole)
        at_once = windows_per_call(self.test_cfg, self.hr_crop_size, img.device)
        windows = Windows(
            F.pad(detail, (0, -width % unit, 0, -height % unit)),  # windows start at cells
            self.hr_crop_size,
            self._stride,
            None if self.training else at_once,
            unit,
        )
        context, first = joint_features(self, small, windows.cut(windows.calls[0]))

        def logits() -> Iterator[Tensor]:
            yield self.decode_head.single_scale(first)
            for call in windows.calls[1:]:
                yield self.decode_head.single_scale(self.extract_feat(windows.cut(call)))

        return context, lambda: windows.average(logits())


def _expected_attention(output: ScaleLogits) -> Tensor:
    """Return the attention of the predicted classes, (N, 1, h, w)."""
    return (output.attention * output.fused.softmax(1)).sum(1, keepdim=True)


def _pictures(output: ScaleLogits, label: Tensor) -> dict[str, Tensor]:
    """Return what a debug panel shows: class maps (N, h, w), attention (N, h, w) and label."""
    return {
        "high_resolution": output.detail.detach().argmax(1),
        "low_resolution": output.context.detach().argmax(1),
        "attention": _expected_attention(output).detach()[:, 0],
        "cropped_label": cut(label[:, 0], output.box),
    }
