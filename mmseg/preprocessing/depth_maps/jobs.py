"""Which image becomes which depth map, and that no image is lost by it."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.gta import GTADataset
from mmseg.datasets.image_files import files_below
from mmseg.datasets.synthia import SynthiaDataset
from mmseg.system.archives import has_folder

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".webp")
MAP_SUFFIXES = (".npy", ".tif", ".tiff", ".png")
PREVIEW_FILE = "depth_preview.png"  # lies beside the maps
CITYSCAPES = "cityscapes"
# How the names of its images end, and those of its own maps.
ENDINGS = (CityscapesDataset.IMG_SUFFIX.partition(".")[0], "_disparity")
LAYOUTS: dict[str, Callable[[str], str]] = {  # the relative name of an image -> that of its map
    CITYSCAPES: CityscapesDataset.depth_name,
    "gta": GTADataset.depth_name,
    "synthia": SynthiaDataset.depth_name,
    "flat": lambda name: PurePosixPath(CustomDataset.depth_name(name)).name,
}

Say = Callable[[str], object]
Found = tuple[Path, str]  # a file, and its name relative to the folder that was given
# What became of images: None of one that has a map now, else why it has none.
Outcomes = Generator[str | None, None, None]


@dataclass(frozen=True)
class Job:
    """One map to make: of `image` (or of a map that exists already), at `output`."""

    image: Path
    output: Path


def find_jobs(
    inputs: Sequence[Path], out: Path, layout: str | None, is_from_maps: bool, say: Say
) -> list[Job]:
    """Return what is to be done, sorted by the maps' names, or raise a sentence for the user.

    `inputs` are files, and folders that are searched, except for `out`, the folder of the maps;
    they are maps already if `is_from_maps`. Without one of the `LAYOUTS`, Cityscapes is recognized
    by its names, and others are kept. `say` takes the lines that a person should read.
    """
    suffixes = MAP_SUFFIXES if is_from_maps else IMAGE_SUFFIXES
    endings = ENDINGS if is_from_maps else ENDINGS[:1]
    searched = (item for path in inputs for item in _search(path, out, suffixes))
    found = list({(real_file(file), name): (file, name) for file, name in searched}.values())
    of_city = [item for item in found if PurePosixPath(item[1]).stem.endswith(endings)]
    if layout is None:
        layout = _recognized(len(of_city), len(found), endings, say)
    fitting = of_city if layout == CITYSCAPES else found
    if not fitting:
        names = " or ".join(f"*{ending}" for ending in endings) if layout == CITYSCAPES else "*"
        where = ", ".join(f"'{path}'" for path in inputs)
        raise FileNotFoundError(
            f"expected files {names} ({', '.join(suffixes)}) in {where}, got none; check the "
            "folder (--out and what lies in it are not searched) and --layout."
        )
    if left_out := len(found) - len(fitting):
        say(f"Left out, because they are not called *{endings[0]}.*: {left_out} of {len(found)}.")
    jobs = [Job(file, out / _map_name(file, name, layout)) for file, name in fitting]
    jobs.sort(key=lambda job: job.output)
    _require_one_image_per_map(jobs)
    _require_apart(jobs, [path for path in inputs if has_folder(path)], out)
    return jobs


def real_file(path: Path) -> Path:
    """Return the path of a file, whose folder may be reached by links; it may be one itself."""
    return _resolved(path.parent.absolute()) / path.name


def counted(count: int, noun: str) -> str:
    """Write a number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@cache  # thousands of files share a folder
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _is_inside(folder: Path, other: Path) -> bool:
    return _resolved(folder.absolute()).is_relative_to(_resolved(other.absolute()))


def _search(path: Path, out: Path, suffixes: tuple[str, ...]) -> Iterator[Found]:
    """Yield the files of one input."""
    if path.is_file():
        if path.suffix.lower() not in suffixes:
            raise ValueError(f"expected a file as {', '.join(suffixes)}, got '{path}'.")
        yield path, path.name
        return
    if not has_folder(path):
        raise FileNotFoundError(f"expected a folder or a file at '{path}', got nothing there.")
    holds_maps = _is_inside(out, path) and not _is_inside(path, out)
    for name in files_below(path):
        file = path / name
        is_own = holds_maps and _is_inside(file.parent, out)
        is_preview = suffixes is MAP_SUFFIXES and file.name == PREVIEW_FILE
        if file.suffix.lower() in suffixes and not is_own and not is_preview:
            yield file, name


def _recognized(count: int, total: int, endings: tuple[str, ...], say: Say) -> str | None:
    """Return the layout of files; `count` are called as in Cityscapes. None keeps names."""
    names = ", ".join(f"*{ending}.*" for ending in endings)
    if not count:
        say("Names are kept: a map is called as its image (--layout chooses other names).")
        return None
    if count < total:
        raise ValueError(
            f"expected all or none of the files to be called {names} as in Cityscapes, got "
            f"{count} of {total}; give --layout cityscapes for these alone, or --layout "
            "gta to keep all names."
        )
    say(f"Layout cityscapes, because the files are called {names} (--layout chooses another).")
    return CITYSCAPES


def _map_name(file: Path, name: str, layout: str | None) -> str:
    """Return the relative name of a map; those of Cityscapes lie in the folder of their city."""
    if layout != CITYSCAPES:
        return LAYOUTS[layout](name) if layout else CustomDataset.depth_name(name)
    if "/" not in name:
        name = f"{file.parent.resolve().name}/{name}"
    return CityscapesDataset.depth_name(name).replace(f"{ENDINGS[1]}.", "_depth.")


def _require_one_image_per_map(jobs: Sequence[Job]) -> None:
    """Raise `ValueError` if two images have one map."""
    for one, other in pairwise(jobs):  # sorted by their maps
        if one.output == other.output:
            raise ValueError(
                f"expected one image per map, got '{one.image}' and '{other.image}' for "
                f"'{one.output}'; give their folders to commands with an --out each, or choose a "
                "--layout that keeps folders."
            )


def _require_apart(jobs: Sequence[Job], folders: Sequence[Path], out: Path) -> None:
    """Raise `ValueError` if a map would replace an image, or be taken for one next time."""
    images = {real_file(job.image) for job in jobs}
    images |= {job.image.resolve() for job in jobs if job.image.is_symlink()}
    if wrong := next((job for job in jobs if real_file(job.output) in images), None):
        raise ValueError(
            f"expected maps beside the images, got '{wrong.output}', which is itself an image; "
            "choose another --out."
        )
    searched = [f for f in folders if _is_inside(f, out) or not _is_inside(out, f)]
    for folder, parent in {(f, job.output.parent) for job in jobs for f in searched}:
        if _is_inside(parent, folder):
            raise ValueError(
                f"expected --out apart from the images, got '{out}' for those in '{folder}': the "
                "maps would be taken for images next time; choose another --out."
            )
