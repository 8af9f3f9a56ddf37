"""How the student sees the images of a step: as they come, or augmented.

The teacher and the depth metric always see them as they come.

Legend: B images, H×W pixels.
"""

from torch import Tensor

from mmseg.models.uda import jitter
from mmseg.models.uda.base import Step
from mmseg.models.uda.draws import JitterKind
from mmseg.models.uda.mixing import StrongAugmentation
from mmseg.models.uda.settings import SelfTrainingSettings


class Views:
    """Only mixed and masked images are augmented, as in DACS and MIC.

    Images are (B, 3, H, W), normalized.
    """

    def __init__(self, settings: SelfTrainingSettings) -> None:
        strength = (settings.color_jitter_probability, settings.color_jitter_strength)
        self._augment_mixed = StrongAugmentation(*strength, settings.blur)
        self._augment_masked = StrongAugmentation(*strength, blur=True, is_shared=True)

    def describe(self) -> list[str]:
        """Tell what is not as in DACS and MIC."""
        return []

    def source(self, step: Step) -> Tensor:
        """Return the source images that are trained on with their labels."""
        return step.data.image

    def weak_source(self, step: Step) -> Tensor:
        """Return the source images whose features are compared with a foundation model's."""
        return step.data.image

    def target(self, step: Step) -> Tensor:
        """Return the same of the target, where source classes are pasted, too."""
        return step.data.target_image

    def mixed(self, image: Tensor, step: Step) -> Tensor:
        """Augment mixed images."""
        return self._augment_mixed(image, step.draws.augmentation(), step.data.normalization())

    def masked(self, image: Tensor, step: Step) -> Tensor:
        """Augment images of which parts will be hidden."""
        return self._augment_masked(image, step.draws.augmentation(), step.data.normalization())


class JitteredViews(Views):
    """Every image is jittered on its own, as in VFM-UDA.

    A view that several phases ask for is the same for all of them. `strong_source` jitters the
    source images strongly where they are trained on with their labels.
    """

    def __init__(self, settings: SelfTrainingSettings, strong_source: bool = False) -> None:
        super().__init__(settings)
        self.strong_source = strong_source

    def describe(self) -> list[str]:
        """Tell how images are jittered."""
        how = "strongly" if self.strong_source else "weakly"
        return [f"Each image is jittered on its own (uda.jitter), the source {how}"]

    def source(self, step: Step) -> Tensor:
        """Return jittered source images."""
        if not self.strong_source:
            return self.weak_source(step)
        return self._jittered(step.data.image, jitter.STRONG, "strong source", step)

    def weak_source(self, step: Step) -> Tensor:
        """Return weakly jittered source images."""
        return self._weak(step.data.image, "weak source", step)

    def target(self, step: Step) -> Tensor:
        """Return weakly jittered target images."""
        return self._weak(step.data.target_image, "weak target", step)

    def mixed(self, image: Tensor, step: Step) -> Tensor:
        """Jitter and blur mixed images."""
        return self._jittered(image, jitter.UDA, "mixed", step)

    def masked(self, image: Tensor, step: Step) -> Tensor:
        """Jitter and blur images of which parts will be hidden."""
        return self._jittered(image, jitter.UDA, "masked", step)

    def _weak(self, image: Tensor, purpose: str, step: Step) -> Tensor:
        if purpose not in step.views:
            step.views[purpose] = self._jittered(image, jitter.WEAK, purpose, step)
        return step.views[purpose]

    def _jittered(self, image: Tensor, kind: JitterKind, purpose: str, step: Step) -> Tensor:
        return jitter.jitter_batch(image, kind, purpose, step.draws, step.data.normalization())


def make_views(settings: SelfTrainingSettings) -> Views:
    """Return the views that a method's settings describe."""
    if settings.jitter is None:
        return Views(settings)
    return JitteredViews(settings, getattr(settings, "strong_source", False))
