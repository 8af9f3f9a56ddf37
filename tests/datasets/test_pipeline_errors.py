"""What pipeline steps say about wrong arguments and samples."""

import numpy as np
import pytest

from mmseg.config.registry import PIPELINES
from mmseg.datasets.pipelines import Compose, start_results


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "Resize", "img_scale": (40,)}, "img_scale.*expected .* got"),
        ({"type": "Resize", "img_scale": (4, 3), "multiscale_mode": "x"}, "'range' or 'value'"),
        ({"type": "RandomCrop", "crop_size": 512}, "crop_size .*expected a list, got 512"),
        ({"type": "RandomFlip", "prob": 2}, "prob .*at most 1, got 2"),
        ({"type": "RandomFlip", "direction": "up"}, "'horizontal' or 'vertical', got 'up'"),
        ({"type": "Pad"}, "either size or size_divisor"),
        ({"type": "RandomCrop", "crop_sise": (3, 4)}, "did you mean 'crop_size'"),
        ({"type": "RandomCropp", "crop_size": (3, 4)}, "did you mean 'RandomCrop'"),
    ],
)
def test_wrong_step_is_refused_with_the_reason(step, message):
    with pytest.raises(ValueError, match=message):
        PIPELINES.build(step)


def test_flip_without_probability_outside_test_time_is_an_error():
    with pytest.raises(ValueError, match="expected RandomFlip with prob"):
        Compose([{"type": "RandomFlip"}])(start_results(np.zeros((3, 4, 3), np.uint8)))


def test_collect_names_the_missing_key():
    with pytest.raises(ValueError, match="'flip' in the sample at Collect.*RandomFlip"):
        Compose([{"type": "Collect", "keys": ["img"]}])(
            start_results(np.zeros((3, 4, 3), np.uint8))
        )
