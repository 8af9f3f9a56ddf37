"""Test-time augmentation: several sizes and mirrored copies of one image."""

from collections.abc import Sequence

from mmseg.config.registry import PIPELINES
from mmseg.config.values import Positive
from mmseg.datasets.pipelines.compose import Compose, Steps
from mmseg.datasets.pipelines.fields import Direction, Results, Scales, as_scales


@PIPELINES.register()
class MultiScaleFlipAug:
    """Run `transforms` once per size and mirroring, and list the results per key.

    Args:
        transforms: steps that end in `Collect`; their `Resize` and `RandomFlip` follow this step.
        img_scale: (width, height), a list of them, or None for the image's own size.
        img_ratios: each size is multiplied by each of these.
        flip: also run each size mirrored.
        flip_direction: 'horizontal', 'vertical' or a list of them.
    """

    def __init__(
        self,
        transforms: Steps,
        img_scale: Scales | None = None,
        img_ratios: Positive | Sequence[Positive] | None = None,
        flip: bool = False,
        flip_direction: Direction | Sequence[Direction] = "horizontal",
    ) -> None:
        if img_scale is None and img_ratios is None:
            raise ValueError("expected img_scale or img_ratios in MultiScaleFlipAug, got neither.")
        self.transforms = Compose(transforms)
        self.scales = None if img_scale is None else as_scales(img_scale)
        single = isinstance(img_ratios, (int, float))
        self.ratios = [img_ratios] if single else img_ratios and list(img_ratios)
        directions = [flip_direction] if isinstance(flip_direction, str) else list(flip_direction)
        self.flips = [(False, directions[0]), *((True, d) for d in directions if flip)]

    def __call__(self, results: Results) -> Results:
        """Return a list of results for every key."""
        samples = [
            self.transforms({**results, "scale": scale, "flip": flip, "flip_direction": direction})
            for scale in self._sizes(results)
            for flip, direction in self.flips
        ]
        return {key: [sample[key] for sample in samples] for key in samples[0]}

    def _sizes(self, results: Results) -> list[tuple[int, int]]:
        height, width = results["img"].shape[:2]
        scales = [(width, height)] if self.scales is None else self.scales
        if not self.ratios:
            return scales
        return [(int(w * ratio), int(h * ratio)) for w, h in scales for ratio in self.ratios]
