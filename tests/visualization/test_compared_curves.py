from pathlib import Path

import pytest
from PIL import Image

from mmseg.visualization.compared_curves import log_panels, plot_panels

LOSS, MIOU = "decode.loss_seg, mean over 5% of the run", "mIoU, percent"


def test_scores_are_percent_and_losses_are_smoothed() -> None:
    """Of 40 points, a point is the mean of two."""
    run = {
        "decode.loss_seg": {n: float(n) for n in range(1, 41)},
        "mIoU": {40: 0.25},
        "lr": {1: 9.0},
    }
    panels = log_panels({"a": [run, {}], "b": []})
    assert list(panels) == [MIOU, LOSS]
    assert panels[MIOU] == {"a": [{40: 25.0}], "b": []}
    (curve,) = panels[LOSS]["a"]
    assert [curve[n] for n in (1, 2, 40)] == [1.0, 1.5, 39.5]


@pytest.mark.parametrize("groups", [1, 11])
def test_many_groups_and_names_of_any_kind_are_drawn(groups: int, tmp_path: Path) -> None:
    panel = {f"$x^{n}_{{$ %s": [{1: 1.0, 2: 0.5}] for n in range(groups)}
    plot_panels({LOSS: panel, MIOU: panel, "third": {}}, tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").size[0] == 1200
