"""Folders of runs as trainings leave them, with results that a test chooses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tiny_run

from mmseg.config import Config
from mmseg.visualization.palettes import paint

MAX_ITERS = 8


def write_run(
    parent: Path,
    name: str,
    seed: int,
    scores: Mapping[int, float],
    data: Path = Path("data"),
    title: str | None = None,
    **changes: Any,
) -> Path:
    """Write config, log and record of a run.

    Args:
        parent: of its folder.
        name: of its config, without the seed.
        seed: of its config.
        scores: mIoU by iteration; road has the same IoU, sky half of it.
        title: what the config says in place of the run's name.
        data: where tiny_run's pictures lie, or would lie.
        **changes: values of the config.
    """
    stem = f"260102_0304_{name}_s{seed}_{seed:05x}"
    folder = parent / stem
    own = {
        "name": title or stem,
        "work_dir": str(folder),
        "seed": seed,
        "runner": {"max_iters": MAX_ITERS},
    }
    values = tiny_run.config(data, **{**own, **changes})
    Config(values).dump(folder / f"{stem}.py")
    records: list[dict[str, Any]] = [
        {"mode": "train", "iter": n, "decode.loss_seg": 3.0 / n, "lr": 0.1}
        for n in range(1, MAX_ITERS + 1)
    ]
    for n, score in scores.items():
        metrics = {"mIoU": score, "IoU.road": score, "IoU.sky": score / 2}
        records.append({"mode": "val", "iter": n, **metrics})
    (folder / "1.log.json").write_text("\n".join(map(json.dumps, records)))
    return folder


def write_record(folder: Path, torch_version: str = "2.9", **more: Any) -> None:
    """Write `repro.json` of a run."""
    content = {
        "started": folder.name,
        "command": {"folder": "/secret"},
        "versions": {"torch": torch_version, "numpy": "2.4"},
        "files": {"load_from": {"path": "w.pth", "bytes": 3, "sha256": "0123456789abcdef"}},
        **more,
    }
    (folder / "repro.json").write_text(json.dumps(content))


def paint_predictions(folder: Path, value: int, images: int = 3) -> None:
    """Paint predictions of one class of tiny_run's validation images, as `test.sh` does."""
    for number in range(images):
        file = folder / f"preds/town/town_00000{number}_000019_leftImg8bit.png"
        paint(file, np.full((tiny_run.HEIGHT, tiny_run.WIDTH), value))
