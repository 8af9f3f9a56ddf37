"""A pipeline: one step after another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from mmseg.config.registry import PIPELINES
from mmseg.config.values import Section
from mmseg.datasets.pipelines.fields import LABEL, Results
from mmseg.datasets.pipelines.formatting import Collect, DefaultFormatBundle, ImageToTensor
from mmseg.datasets.pipelines.geometry import Pad, RandomCrop, RandomFlip, Resize
from mmseg.datasets.pipelines.photometric import Normalize, PhotoMetricDistortion

Step = Callable[[Results], Results]
Steps = Annotated[Sequence[Annotated[Section, PIPELINES.checked] | Step], Field(min_length=1)]
LABEL_STEPS = (Pad, PhotoMetricDistortion, RandomCrop, RandomFlip, Resize)  # or the random numbers
OTHER_STEPS = (Collect, DefaultFormatBundle, ImageToTensor, Normalize)


class Compose:
    """Call one step after another.

    The steps before the first random one give the same result for every draw. `fixed` and `drawn`
    run the two parts alone, which saves a caller who draws again from reading the files again.
    `draws_labels` says whether `drawn_label` can draw the label without the image.
    """

    def __init__(self, steps: Iterable[Section | Step]) -> None:
        self.steps: list[Step] = [
            PIPELINES.build(step) if isinstance(step, Mapping) else step for step in steps
        ]
        random = (i for i, step in enumerate(self.steps) if getattr(step, "is_random", True))
        self._first_random = next(random, len(self.steps))
        later = self.steps[self._first_random :]
        # Steps of forks change arrays in place; the next draw must find them as they were read.
        self._copies = any(not type(step).__module__.startswith("mmseg.") for step in later)
        self._label_steps = [step for step in later if type(step) in LABEL_STEPS]
        self.draws_labels = all(type(step) in (*LABEL_STEPS, *OTHER_STEPS) for step in later)

    def __call__(self, results: Results) -> Results:
        """Run every step."""
        return self.drawn(self.fixed(results))

    def fixed(self, results: Results) -> Results:
        """Run the steps before the first random one."""
        return _run(self.steps[: self._first_random], results)

    def drawn(self, results: Results) -> Results:
        """Run the first random step and all after it; the arrays of `results` stay as they are."""
        if self._copies:
            results = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in results.items()}
        return _run(self.steps[self._first_random :], results)

    def drawn_label(self, results: Results) -> np.ndarray:
        """Return the label (H, W) uint8 that `drawn` would give, after as many random numbers."""
        alone = {"seg_fields": [LABEL], "img_fields": [], LABEL: results[LABEL]}
        kept = {k: v for k, v in results.items() if not isinstance(v, np.ndarray)}
        return _run(self._label_steps, kept | alone)[LABEL]


def _run(steps: Iterable[Step], results: Results) -> Results:
    for step in steps:
        results = step(results)
    return results
