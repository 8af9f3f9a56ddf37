"""Whether the depth maps of a config, its source crops and their bank belong together."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmseg.config.registry import DATASETS
from mmseg.datasets.crop_store import DEPTH_KEY, SETTINGS_FILE, read_settings
from mmseg.datasets.depth.bins import make_command
from mmseg.datasets.depth.inspection import dataset_warnings
from mmseg.datasets.depth.record import RECORD_FILE, find_record, recipe_hash


def training_warnings(cfg: Mapping[str, Any], dataset: Any) -> list[str]:
    """Say what looks wrong in the depth that a training reads; a few maps are opened.

    Args:
        cfg: the whole config.
        dataset: `cfg.data.train`, built.
    """
    uda = cfg.get("uda") or {}
    bank, crops = (uda.get(key) for key in ("matrix_path", "croped_images_path"))
    dep_dir = getattr(getattr(dataset, "source", None), "dep_dir", None)
    folders = [Path(path).parent for path in (bank, crops) if bank and path]
    return dataset_warnings(dataset) + crop_warnings(folders, dep_dir)


def crop_warnings(folders: Iterable[Path], dep_dir: str | Path | None) -> list[str]:
    """Say which folders that run_seg.py filled hold the depth of other maps than `dep_dir`.

    Folders of earlier versions, which do not say how their maps were made, are taken as they are.
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
            found.append(f"It is not known which depth the crops in '{folder}' have: {error}")
            continue
        if settings.get(DEPTH_KEY, now) != now:
            found.append(
                f"The crops or statistics in '{folder}' are of other depth maps than those in "
                f"'{dep_dir}': the recipe in their {RECORD_FILE} was {_named(settings[DEPTH_KEY])} "
                f"and is {_named(now)}. Do delete that folder and start run_seg.py again."
            )
    return found


def source_depth_advice(source: Mapping[str, Any]) -> str:
    """Say how the depth maps of a source section without `dep_dir` come about.

    Args:
        source: `data.train.source` of a config.
    """
    kind, root = source.get("type"), Path(source.get("data_root") or "")
    cls = DATASETS.get(kind) if isinstance(kind, str) and kind in DATASETS else kind
    images, maps = root / (source.get("img_dir") or "…"), root / "depth_any"
    command = make_command(images, maps, getattr(cls, "DEPTH_LAYOUT", None))
    return (
        f"set it to the folder with the depth maps of the source images, such as '{maps}'. They "
        f"are made with: {command}"
    )


def _named(recipe: str | None) -> str:
    return "unknown" if recipe is None else recipe
