"""What runs predict for the same images, side by side."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg.apis.comparison.page import Block, Heading, Lines, Paragraph, Picture
from mmseg.apis.comparison.runs import Groups, Run
from mmseg.config.run_config import read_parts
from mmseg.datasets import build_dataset
from mmseg.datasets.joint import joined, parts_of
from mmseg.system.errors import is_for_user
from mmseg.visualization.contact_sheet import contact_sheet
from mmseg.visualization.mosaic import Cell, mosaic
from mmseg.visualization.palettes import save_picture

FOLDER = "preds"  # where `sh test.sh RUN` paints
FILE = "predictions.png"
CELL_WIDTH = 240  # pixels


@dataclass(frozen=True)
class Painted:
    """The predictions of one run of each group, and of which images there are all of them."""

    folders: Mapping[str, Path]
    names: list[str]  # of pictures, as in every folder

    def some(self, count: int) -> list[str]:
        """Return `count` of the names, evenly spread."""
        step = max(1, len(self.names) // max(1, count))
        return self.names[::step][:count]


def picture_blocks(groups: Groups, folder: Path, count: int) -> Iterator[Block]:
    """Draw `count` images into a folder, and yield the section that shows them."""
    if not count:
        return
    yield Heading("Predictions")
    without = [_first(group) for group in groups.values() if _painted(group) is None]
    if without:
        some = "No run has" if len(without) == len(groups) else "Some runs have not"
        commands = [f"sh test.sh {shlex.quote(str(run.folder))}" for run in without]
        yield Lines(f"{some} painted predictions. Paint them with:", commands)
    found = _common(groups)
    if not found.folders:
        return
    if not found.names:
        yield Paragraph("The painted predictions are of different images, so none are shown.")
        return
    run = next(filter(None, map(_painted, groups.values())))
    rows, why = _sheet(run, found, count)
    save_picture(folder / FILE, rows)
    said = (
        f"{why}The network is the one that test.sh painted: of the best checkpoint, else the last."
    )
    yield Paragraph(f"{said} Of several seeds, the first with pictures is shown.")
    yield Picture(f"{min(count, len(found.names))} of {len(found.names)} images", FILE, True)


def _sheet(run: Run, found: Painted, count: int) -> tuple[np.ndarray, str]:
    """Return the pictures, with image and label where the dataset of a run is at hand.

    With it comes the sentence that says why these are not there.
    """
    wanted = found.some(count)
    try:
        dataset, prefix = _dataset(run)
        indices = {str(Path(prefix, info["filename"]).with_suffix(".png")): index
                   for index, info in enumerate(dataset.img_infos)}  # fmt: skip
        folders = {name: folder / prefix for name, folder in found.folders.items()}
        chosen = [indices[name] for name in wanted if name in indices]
        if chosen:
            return contact_sheet(dataset, chosen, folders, cell_width=CELL_WIDTH), ""
        why = "Images and labels are not shown: the dataset has no images of these names. "
    except (OSError, ValueError, ImportError) as error:
        if not is_for_user(error):
            raise
        why = f"Images and labels are not shown: {error} "
    rows = [[Cell(title, _rgb(folder / name)) for title, folder in found.folders.items()]
            for name in wanted]  # fmt: skip
    return mosaic(rows, CELL_WIDTH), why


def _dataset(run: Run) -> tuple[Any, str]:
    """Return the first dataset that a run is tested on, and the folder of its pictures."""
    data = read_parts(run.config).data
    dataset: Any = build_dataset(joined(data.test or data.val), test_mode=True)
    part = parts_of(dataset)[0]
    return part, "" if part is dataset else dataset.names[0]


def _common(groups: Groups) -> Painted:
    """Return the pictures that one run of each group has, of the groups that have any."""
    runs = {name: run for name, group in groups.items() if (run := _painted(group)) is not None}
    folders = {name: run.folder / FOLDER for name, run in runs.items()}
    names = [{f.relative_to(folder).as_posix() for f in folder.rglob("*.png")}
             for folder in folders.values()]  # fmt: skip
    return Painted(folders, sorted(set.intersection(*names)) if names else [])


def _painted(group: Mapping[Any, Run]) -> Run | None:
    """Return the first run of a group with pictures."""
    runs = (run for run in group.values() if (run.folder / FOLDER).is_dir())
    return next((run for run in runs if any((run.folder / FOLDER).rglob("*.png"))), None)


def _first(group: Mapping[Any, Run]) -> Run:
    return next(iter(group.values()))


def _rgb(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))
