"""Every training image has its label and its depth map."""

from pathlib import Path
from typing import Any

from mmseg.datasets.image_files import files_below
from mmseg.datasets.pipelines.reading import LoadAnnotations
from mmseg.system.archives import has_folder


def require_files(dataset: Any) -> None:
    """Raise if an image of a `CustomDataset` lacks its label or its depth map."""
    if any(isinstance(step, LoadAnnotations) for step in dataset.pipeline.steps):
        names = [info["ann"]["seg_map"] for info in dataset.img_infos]
        if dataset.ann_dir is None:
            raise ValueError(
                f"expected ann_dir of {_name(dataset)}, whose pipeline has LoadAnnotations, got "
                "none. Set ann_dir or drop that step."
            )
        require_each(dataset, "label", dataset.ann_dir, names, dataset.remedy("labels"))
    if dataset.dep_dir is not None:
        names = [dataset.depth_name(info["filename"]) for info in dataset.img_infos]
        remedy = f"Make them with: {dataset.depth_command} (docs/depth_maps.md), or set "
        remedy += "dep_dir=None to train without depth (CDDA needs it)."
        require_each(dataset, "depth map", dataset.dep_dir, names, remedy)


def convert_command(converter: str, data_root: str | None) -> str:
    """Return the command that converts the labels of a dataset and counts their classes."""
    root = str(data_root or "data/…").rstrip("/")
    return f"python tools/convert_datasets/{converter}.py {root} --nproc 8"


def require_each(dataset: Any, kind: str, folder: Path, names: list[str], remedy: str) -> None:
    """Raise unless a folder has a file for each image; `names` are relative to it.

    `kind` and `remedy` are for the sentence.
    """
    if not has_folder(folder):
        raise FileNotFoundError(
            f"expected a {kind} for every image of '{dataset.img_dir}' in '{folder}', got no such "
            f"folder. {remedy}"
        )
    present = set(files_below(folder))
    if missing := [i for i, name in enumerate(names) if name not in present]:
        image = dataset.img_dir / dataset.img_infos[missing[0]]["filename"]
        raise FileNotFoundError(
            f"expected a {kind} for every image of {_name(dataset)}, got none for {len(missing)} "
            f"of {len(names)}: image '{image}', missing '{folder / names[missing[0]]}'. {remedy}"
        )


def _name(dataset: Any) -> str:
    return type(dataset).__name__
