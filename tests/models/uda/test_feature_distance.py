"""Feature distance and label down-scaling against the recorded reference."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmseg.models.segmentors.training_parts import FeatureView
from mmseg.models.uda.feature_distance import FeatureDistance, downscale_label
from mmseg.system.errors import ConfigError

E = Path(__file__).parents[2] / "golden" / "E"
META = json.loads((E / "E.json").read_text())
STORED = np.load(E / "E.npz")
THINGS = [6, 7, 11, 12, 13, 14, 15, 16, 17, 18]


@pytest.mark.parametrize("number", range(4))
def test_downscaled_labels_equal_the_recorded_ones(number: int) -> None:
    label = torch.from_numpy(STORED[f"E3_in{number}"]).long()
    entry = META["E3"][number]
    got = downscale_label(label, entry["scale"], entry["min_ratio"], 19)
    assert torch.equal(got, torch.from_numpy(STORED[f"E3_out{number}"]))


def test_distance_equals_the_recorded_one() -> None:
    ours, theirs, label = (torch.from_numpy(STORED[f"E2_{k}"]).double() for k in ("f1", "f2", "gt"))
    loss, pictures = FeatureDistance(0.005, THINGS, 0.75, 19)(ours, theirs, label.long())
    assert loss.item() == pytest.approx(META["E2"]["loss"], rel=1e-6)
    assert int(pictures["feature_distance_mask"].sum()) == META["E2"]["n_mask"]
    everywhere, _ = FeatureDistance(1.0, None, None, 19)(ours, theirs, label.long())
    assert everywhere.item() == pytest.approx(META["E2"]["fd_nomask"], rel=1e-6)


def test_empty_mask_costs_nothing_and_is_not_nan() -> None:
    features = torch.randn(2, 5, 3, 4, requires_grad=True)
    label = torch.zeros(2, 1, 48, 64).long()
    loss, _ = FeatureDistance(0.005, [13], 0.75, 19)(features, torch.randn(2, 5, 3, 4), label)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_views_are_compared_one_by_one_and_their_means_added() -> None:
    """Constant distances of 2 and 3 over things in one cell each: 2 + 3, whatever their sizes."""

    def imagenet(image: torch.Tensor) -> list[torch.Tensor]:
        return [image, image[:, :1].expand(-1, 5, -1, -1)]  # the last level counts

    label = torch.zeros(2, 1, 12, 16).long()
    label[0, :, :4, :4] = 13
    views = []
    for distance, (height, width) in ((2, (3, 4)), (-3, (6, 8))):
        image = torch.full((2, 3, height, width), distance / 5**0.5, dtype=torch.float64)
        views.append(FeatureView(image.new_zeros(2, 5, height, width), image, label))
    network = SimpleNamespace(extract_feat=imagenet)
    loss, pictures = FeatureDistance(0.1, [13], 0.75, 19).of_views(views, network)
    assert loss.item() == pytest.approx(0.1 * (2 + 3))
    assert pictures["feature_distance_mask"].shape == (2, 3, 4)


def test_classes_without_a_ratio_are_refused() -> None:
    with pytest.raises(ConfigError, match="imnet_feature_dist_scale_min_ratio"):
        FeatureDistance(0.005, THINGS, None, 19)
