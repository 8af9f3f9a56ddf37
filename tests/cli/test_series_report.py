"""Mean and standard deviation over seeds, worked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmseg.apis.series.report import summary, summary_lines

NOTHING = {"mIoU": None, "IoU.road": None, "IoU.sky": None}


def write_log(folder: Path, *records: tuple[int, dict[str, Any]], name: str = "1") -> Path:
    folder.mkdir(exist_ok=True)
    lines = [{"mode": "train", "iter": 1, "loss": 7.0}]
    lines += [{"mode": "val", "iter": n, **values} for n, values in records]
    text = "\n".join(map(json.dumps, lines))
    (folder / f"{name}.log.json").write_text(text + '\n{"mode": "val", "it')  # cut off
    return folder


def result(miou: float | None, road: float | None, sky: float | None = None) -> dict[str, Any]:
    return {"mIoU": miou, "mIoU13": miou, "IoU.road": road, "IoU.sky": sky, "Acc.road": 0.9}


@pytest.fixture
def folders(tmp_path: Path) -> dict[int | None, Path]:
    """Three seeds; the second began anew after iteration 6, the third had undefined values."""
    first = write_log(tmp_path / "0", (4, result(0.6, 0.5)), (8, result(0.3, 0.1)))
    second = write_log(tmp_path / "5", (4, result(0.1, 0.1)), (6, result(0.9, 0.9)))
    write_log(second, (6, result(0.2, 0.2)), (8, result(0.4, 0.3, 0.25)), name="2")
    third = write_log(tmp_path / "2", (4, NOTHING), (8, result(0.8, 0.8)))
    return {0: first, 5: second, 2: third}


def test_the_summary_is_mean_and_sample_deviation(folders: dict[int | None, Path]) -> None:
    (entry,) = summary({"a": folders, "none": {}})["configs"]
    assert (entry["name"], entry["seeds"]) == ("a", [0, 5, 2])
    assert entry["runs"] == [folder.as_posix() for folder in folders.values()]
    last, best = entry["last"], entry["best"]
    assert (last["iterations"], best["iterations"]) == ([8, 8, 8], [4, 8, 8])
    # (0.3 + 0.4 + 0.8) / 3, and the root of (0.04 + 0.01 + 0.09) / 2
    assert last["means"]["mIoU"] == {"mean": 0.5, "std": 0.264575, "values": [0.3, 0.4, 0.8]}
    # (0.6 + 0.4 + 0.8) / 3, and the root of (0 + 0.04 + 0.04) / 2
    assert best["means"]["mIoU"] == {"mean": 0.6, "std": 0.2, "values": [0.6, 0.4, 0.8]}
    assert list(last["means"]) == ["mIoU", "mIoU13"]
    # (0.1 + 0.3 + 0.8) / 3, and the root of (0.09 + 0.01 + 0.16) / 2
    road, sky = last["per_class"]["road"], last["per_class"]["sky"]
    assert road == {"mean": 0.4, "std": 0.360555, "values": [0.1, 0.3, 0.8]}
    assert sky == {"mean": 0.25, "std": None, "values": [None, 0.25, None]}


def test_the_table_is_in_percent(folders: dict[int | None, Path]) -> None:
    lines = summary_lines(summary({"a": folders})["configs"][0])
    text = "\n".join(lines)
    assert lines[0] == "a, seeds 0, 5, 2:"
    assert "|  road | 40.00 ± 36.06 | 53.33 ± 25.17 |" in text
    assert "|  sky  |   25.00 ± –   |   25.00 ± –   |" in text
    assert lines[-2:] == [
        "last: mIoU 50.00 ± 26.46, mIoU13 50.00 ± 26.46",
        "best: mIoU 60.00 ± 20.00, mIoU13 60.00 ± 20.00",
    ]


def test_one_seed_has_no_deviation(folders: dict[int | None, Path]) -> None:
    (entry,) = summary({"a": {0: folders[0]}})["configs"]
    assert entry["last"]["means"]["mIoU"] == {"mean": 0.3, "std": None, "values": [0.3]}
    assert summary_lines(entry)[0] == "a, seed 0:"
    assert summary_lines(entry)[-2] == "last: mIoU 30.00 ± –, mIoU13 30.00 ± –"


def test_runs_that_were_not_evaluated_are_left_out(tmp_path: Path) -> None:
    assert summary({"a": {0: write_log(tmp_path / "0")}})["configs"] == []
