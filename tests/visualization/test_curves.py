import json

import pytest
from PIL import Image

from mmseg.visualization.curves import plot_curves, read_curves


def write_log(path, entries, tail=""):
    path.write_text("\n".join(json.dumps(entry) for entry in entries) + tail)


def test_curves_of_a_resumed_run_are_joined_and_a_cut_off_line_is_left_out(tmp_path):
    first = [
        {"mode": "train", "iter": i, "decode.loss_seg": 3.0 / i, "cdda.similarity": 0.5}
        for i in (10, 20, 30)
    ]
    second = [{"mode": "train", "iter": i, "decode.loss_seg": 1.0 / i} for i in (30, 40)]
    second.append({"mode": "val", "iter": 40, "mIoU": 0.25})
    write_log(tmp_path / "20240101_000000.log.json", [{"config": "x", "seed": 1}, *first])
    write_log(tmp_path / "20240101_010000.log.json", second, tail='\n{"mode": "train", "it')
    curves = read_curves(tmp_path)
    assert curves["decode.loss_seg"] == {10: 0.3, 20: 0.15, 30: 1 / 30, 40: 1 / 40}
    assert curves["mIoU"] == {40: 0.25}
    assert plot_curves(tmp_path) == tmp_path / "curves.png"
    assert Image.open(tmp_path / "curves.png").size[0] > 500


def test_curves_of_nothing_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a log .* got none"):
        plot_curves(tmp_path)
    write_log(tmp_path / "a.log.json", [{"mode": "train", "iter": 1, "lr": 0.1}])
    with pytest.raises(ValueError, match="expected losses or mIoU in the log"):
        plot_curves(tmp_path)
