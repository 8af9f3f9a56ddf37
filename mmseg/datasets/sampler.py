"""Draw one image again and again, without reading its files again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmseg.datasets.pipelines import Compose
from mmseg.datasets.pipelines.fields import LABEL, Results


@dataclass(frozen=True)
class Sampler:
    """Draws samples of an image.

    `fixed` is what the steps before the first random one have made of it; `finish` gets each
    sample, and returns it.
    """

    pipeline: Compose
    fixed: Results
    finish: Callable[[Results], Results]

    def __call__(self, rng: np.random.Generator) -> Results:
        """Draw a sample."""
        return self.finish(self.pipeline.drawn({**self.fixed, "rng": rng}))

    def accepted(
        self, accepts: Callable[[Any], bool], tries: int, rng: np.random.Generator
    ) -> Results:
        """Draw until a label is accepted, up to `tries` times; then draw once more, untested.

        `accepts` gets the label as an array (H, W), or as the pipeline returns it.
        """
        if not self.pipeline.draws_labels:
            return self._accepted_as_a_whole(accepts, tries, rng)
        for _ in range(tries):
            start = rng.bit_generator.state
            if accepts(self.pipeline.drawn_label({**self.fixed, "rng": rng})):
                rng.bit_generator.state = start  # the same again, with the image
                break
        return self(rng)

    def _accepted_as_a_whole(
        self, accepts: Callable[[Any], bool], tries: int, rng: np.random.Generator
    ) -> Results:
        sample = self(rng)
        for _ in range(tries):
            if accepts(sample[LABEL]):
                break
            sample = self(rng)
        return sample
