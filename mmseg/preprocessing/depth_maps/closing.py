"""When all maps are there: do they look right? A preview shows it to a person."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmseg.datasets.depth.inspection import folder_warnings, sampled
from mmseg.datasets.depth.record import RECORD_FILE, DepthRecord
from mmseg.preprocessing.depth_maps.checkpoints import ALIASES, find_checkpoint
from mmseg.preprocessing.depth_maps.jobs import PREVIEW_FILE, Job
from mmseg.preprocessing.depth_maps.map_folder import MapFolder
from mmseg.preprocessing.depth_maps.options import Options
from mmseg.visualization.depth_sheet import depth_sheet
from mmseg.visualization.palettes import save_picture

Say = Callable[[str], object]


def tell_complete(folder: MapFolder, options: Options, say: Say) -> None:
    """Say that there is nothing to do, and how the maps that are there were made."""
    record = folder.record()
    start = f"All {len(folder.jobs)} maps are in {folder.root} already"
    if record is None:
        say(f"{start}; how they were made is not known, because there is no {RECORD_FILE}.")
        return
    model = options.model
    wanted = _source(None if model is None else ALIASES.get(model, model))
    found = _source(None)
    if record.recipe.get("source") == "model":
        found = _source(record.details.get("model", "an unknown model"))
        if model is not None and model not in ALIASES and Path(model).is_dir():
            _require_weights(model, record, f"{start}, made {found}")
            wanted = found
    quantity = record.recipe.get("quantity")
    other = options.quantity or ("inverse" if options.is_from_maps else quantity)
    if found == wanted and quantity != other:
        found, wanted = f"{found} as {quantity} depth", f"{wanted} as {other} depth"
    say(f"{start}, made {found}.")
    if found != wanted:
        say(f"This command would make them {wanted}; that needs another --out, or --overwrite.")


def _require_weights(model: str, record: DepthRecord, start: str) -> None:
    """Raise `ValueError` if a local network is not the one that made the maps."""
    if find_checkpoint(model).weights_sha256() != record.recipe.get("weights_sha256"):
        raise ValueError(
            f"expected maps that are made with the weights of '{model}', got others: {start}; do "
            "choose another --out, or make them again with --overwrite."
        )


def check_preview(options: Options, jobs: Sequence[Job]) -> None:
    """Raise `ValueError` if the preview would replace something else."""
    preview, usual = options.preview, options.out / PREVIEW_FILE
    if preview is None:
        return
    if any(job.output.name == preview.name and job.output == preview for job in jobs):
        raise ValueError(
            f"expected another name for --preview than that of a map, got '{preview}'; do give a "
            "FILE."
        )
    if preview == usual:
        return
    if preview.exists():
        raise ValueError(
            f"expected a new file for --preview, got '{preview}', which is there; do choose "
            f"another name, delete it, or leave the name out (after the other arguments) for "
            f"'{usual}', which is replaced."
        )
    if preview.suffix.lower() != ".png":
        raise ValueError(f"expected a file *.png for --preview, got '{preview}'; do rename it.")


def show_maps(jobs: Sequence[Job], options: Options, say: Say) -> None:
    """Warn of what looks wrong in the maps that are there, and draw the preview."""
    there = [job for job in jobs if job.output.is_file()]
    for warning in folder_warnings([job.output for job in there], options.out):
        say(f"Warning: {warning}")
    if options.preview is not None and there:
        rows = [there[index] for index in sampled(len(there))]
        # Of maps that were converted there is no image.
        pairs = [(None if options.is_from_maps else job.image, job.output) for job in rows]
        save_picture(options.preview, depth_sheet(pairs))
        say(f"Preview: {options.preview}")


def _source(model: str | None) -> str:
    return "from existing maps" if model is None else f"with {model}"
