"""Whether the depth maps of a config, its source crops and their bank belong together."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmseg.config.registry import DATASETS
from mmseg.datasets.crop_store import DEPTH_KEY, SETTINGS_FILE, read_settings
from mmseg.datasets.depth.bins import make_command
from mmseg.datasets.depth.inspection import dataset_warnings
from mmseg.datasets.depth.record import RECORD_FILE, find_record, recipe_hash


def training_warnings(uda: Mapping[str, Any] | None, dataset: Any) -> list[str]:
    """Say what looks wrong in the files that a method reads on `dataset`; opens a few maps."""
    bank, crops = ((uda or {}).get(key) for key in ("matrix_path", "croped_images_path"))
    source = getattr(dataset, "source", None)
    dep_dir = getattr(next(iter(getattr(source, "parts", [source]))), "dep_dir", None)
    folders = [Path(path).parent for path in (bank, crops) if bank and path]
    statistics = getattr(getattr(dataset, "rare_class_sampling", None), "warnings", [])
    return [*statistics, *dataset_warnings(dataset), *crop_warnings(folders, dep_dir)]


def crop_warnings(folders: Iterable[Path], dep_dir: str | Path | None) -> list[str]:
    """Say which folders of run_seg.py were made from other depth maps than those in `dep_dir`.

    Folders of earlier versions do not say how their maps were made and pass.
    """
    if dep_dir is None:
        return []
    found = []
    for folder in dict.fromkeys(folders):
        path = folder / SETTINGS_FILE
        if not path.is_file():
            continue
        try:
            settings, now = read_settings(path), recipe_hash(find_record(dep_dir))
        except (OSError, ValueError) as error:
            found.append(f"The depth of the crops in '{folder}' is unknown: {error}")
            continue
        if (then := settings.get(DEPTH_KEY, now)) != now:
            found.append(
                f"The crops or statistics in '{folder}' were made from other depth maps than those "
                f"in '{dep_dir}': the recipe in {RECORD_FILE} was {then or 'unknown'} and is now "
                f"{now or 'unknown'}. Delete that folder and run run_seg.py again."
            )
    return found


def source_depth_advice(source: Mapping[str, Any]) -> str:
    """Say how to make the depth maps of a `data.train.source` section without `dep_dir`."""
    kind, root = source.get("type"), Path(source.get("data_root") or "")
    cls = DATASETS.get(kind) if isinstance(kind, str) and kind in DATASETS else kind
    images, maps = root / (source.get("img_dir") or "…"), root / "depth_any"
    command = make_command(images, maps, getattr(cls, "DEPTH_LAYOUT", None))
    return (
        f"Set it to the folder with the depth maps of the source images, such as '{maps}'. Make "
        f"them with: {command}"
    )
