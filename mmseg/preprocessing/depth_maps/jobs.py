"""Which image becomes which depth map, and that no image is lost by it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.gta import GTADataset
from mmseg.datasets.image_files import files_below
from mmseg.datasets.synthia import SynthiaDataset
from mmseg.preprocessing.depth_maps.disparity import SUFFIXES as MAP_SUFFIXES

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".webp")
PREVIEW_FILE = "depth_preview.png"  # lies beside the maps
DISPARITY = "disparity"  # what Cityscapes calls its own maps


@dataclass(frozen=True)
class Job:
    """One map to make: of `image` (or of a map that exists already), at `output`."""

    image: Path
    output: Path


@dataclass(frozen=True)
class Layout:
    """How the files of a data set are called.

    map_name: the relative name of an image, with '/' -> that of its map.
    ending: of the images' names, before the suffix.
    map_ending: of the names of maps that exist already, the same.
    keeps_folder: the folder of an image belongs to its name.
    """

    map_name: Callable[[str], str]
    ending: str = ""
    map_ending: str = ""
    keeps_folder: bool = False

    def endings(self, is_from_maps: bool) -> tuple[str, ...]:
        """Return the endings by which the files to read are recognized."""
        return (self.ending, self.map_ending) if is_from_maps else (self.ending,)


def flat_name(name: str) -> str:
    """Return the name of a map without the folders of its image.

    >>> flat_name("train/b/00001.jpg")
    '00001.png'
    """
    return PurePosixPath(CustomDataset.depth_name(name)).name


LAYOUTS = {
    "cityscapes": Layout(
        CityscapesDataset.depth_name,
        ending=CityscapesDataset.IMG_SUFFIX.partition(".")[0],
        map_ending=f"_{DISPARITY}",
        keeps_folder=True,
    ),
    "gta": Layout(GTADataset.depth_name),
    "synthia": Layout(SynthiaDataset.depth_name),
    "flat": Layout(flat_name),
}
KEPT_NAMES = Layout(CustomDataset.depth_name)  # without --layout


@dataclass(frozen=True)
class _Found:
    """An image and its name relative to the folder that was given."""

    image: Path
    name: str


def find_jobs(
    inputs: Sequence[str | Path],
    out: str | Path,
    layout: str | None = None,
    is_from_maps: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> list[Job]:
    """Return what is to be done, sorted by the maps' names.

    Args:
        inputs: folders, searched with all folders in them, and files.
        out: folder of the maps; where it lies in one of `inputs`, it is not searched.
        layout: one of `LAYOUTS`; None recognizes Cityscapes by its names and keeps others.
        is_from_maps: the inputs are maps that exist already.
        say: takes the lines that a person should read.

    Raises:
        FileNotFoundError: there is nothing to do.
        ValueError: two images have one map, or a map would lie among the images.
    """
    out = Path(out)
    suffixes = MAP_SUFFIXES if is_from_maps else IMAGE_SUFFIXES
    found = [item for path in map(Path, inputs) for item in _search(path, out, suffixes)]
    place = RealFolders()  # the same file may be given twice
    found = list({(place.file(item.image), item.name): item for item in found}.values())
    chosen = _recognized(found, is_from_maps, say) if layout is None else LAYOUTS[layout]
    fitting = [item for item in found if _fits(item, chosen, is_from_maps)]
    if not fitting:
        raise FileNotFoundError(_nothing(inputs, suffixes, chosen.endings(is_from_maps)))
    if left_out := len(found) - len(fitting):
        say(
            f"Left out, because they are not called *{chosen.ending}.*: {left_out} of {len(found)}."
        )
    jobs = [Job(item.image, out / _map_name(item, chosen, is_from_maps)) for item in fitting]
    jobs.sort(key=lambda job: job.output)
    _check(jobs, [path for path in map(Path, inputs) if path.is_dir()], out)
    return jobs


def _search(path: Path, out: Path, suffixes: tuple[str, ...]) -> Iterator[_Found]:
    """Yield the files of one input."""
    if path.is_file():
        if path.suffix.lower() not in suffixes:
            raise ValueError(f"expected a file as {', '.join(suffixes)}, got '{path}'.")
        yield _Found(path, path.name)
        return
    if not path.is_dir():
        raise FileNotFoundError(f"expected a folder or a file at '{path}', got nothing there.")
    folder = RealFolders()
    holds_maps = folder.is_inside(out, path) and not folder.is_inside(path, out)
    for name in files_below(path):
        image = path / name
        if image.suffix.lower() not in suffixes:
            continue
        if suffixes is MAP_SUFFIXES and image.name == PREVIEW_FILE:
            continue
        if not (holds_maps and folder.is_inside(image.parent, out)):
            yield _Found(image, name)


class RealFolders:
    """Where folders really are: each is looked up once, links are followed."""

    def __init__(self) -> None:
        self.known: dict[Path, Path] = {}

    def real(self, folder: Path) -> Path:
        """Return the path of a folder without links."""
        if folder not in self.known:
            self.known[folder] = folder.resolve()
        return self.known[folder]

    def file(self, path: Path) -> Path:
        """Return the path of a file, whose folder may be reached by links; it may be one itself."""
        return self.real(path.parent) / path.name

    def is_inside(self, folder: Path, other: Path) -> bool:
        """Tell whether a folder is another one or lies in it."""
        return self.real(folder).is_relative_to(self.real(other))


def _recognized(
    found: Sequence[_Found], is_from_maps: bool, say: Callable[[str], object]
) -> Layout:
    """Return the layout whose names the files have."""
    cityscapes = LAYOUTS["cityscapes"]
    names = ", ".join(f"*{ending}.*" for ending in cityscapes.endings(is_from_maps))
    count = sum(_fits(item, cityscapes, is_from_maps) for item in found)
    if not count:
        say("Names are kept: a map is called as its image (--layout chooses other names).")
        return KEPT_NAMES
    if count < len(found):
        raise ValueError(
            f"expected all or none of the files to be called {names} as in Cityscapes, got "
            f"{count} of {len(found)}; do give --layout cityscapes for these alone, or --layout "
            "gta to keep all names."
        )
    say(f"Layout cityscapes, because the files are called {names} (--layout chooses another).")
    return cityscapes


def _fits(item: _Found, layout: Layout, is_from_maps: bool) -> bool:
    return PurePosixPath(item.name).stem.endswith(layout.endings(is_from_maps))


def _map_name(item: _Found, layout: Layout, is_from_maps: bool) -> str:
    """Return the relative name of a map."""
    name = item.name
    if layout.keeps_folder and "/" not in name and item.image.name == name:
        name = _with_folder(item)
    path = PurePosixPath(layout.map_name(name))
    if is_from_maps and layout.map_ending:
        path = path.with_name(path.name.replace(DISPARITY, "depth"))
    return path.as_posix()


def _with_folder(item: _Found) -> str:
    return f"{item.image.parent.resolve().name}/{item.name}"


def _nothing(inputs: Sequence[str | Path], suffixes: Sequence[str], endings: Sequence[str]) -> str:
    """Say that no image was found."""
    where = ", ".join(f"'{path}'" for path in inputs)
    names = " or ".join(f"*{ending}" for ending in endings)
    advice = "do check the folder (--out and what lies in it are not searched)"
    if any(endings):
        advice += ", or leave --layout out"
    return f"expected files {names} ({', '.join(suffixes)}) in {where}, got none; {advice}."


def _check(jobs: Sequence[Job], folders: Sequence[Path], out: Path) -> None:
    """Raise `ValueError` if a map would replace another one or an image, or be taken for one."""
    outputs = Counter(job.output for job in jobs)
    if len(outputs) < len(jobs):
        output = next(output for output, count in outputs.items() if count > 1)
        first, second, *_ = (job.image for job in jobs if job.output == output)
        raise ValueError(
            f"expected one image per map, got '{first}' and '{second}' for '{output}'; do give "
            "their folders to commands with an --out each, or choose a --layout that keeps folders."
        )
    place = RealFolders()
    images = {place.file(job.image) for job in jobs}
    images |= {job.image.resolve() for job in jobs if job.image.is_symlink()}
    for job in jobs:
        if place.file(job.output) in images:
            raise ValueError(
                f"expected maps beside the images, got '{job.output}', which is itself an image; "
                "do choose another --out."
            )
    searched = [f for f in folders if place.is_inside(f, out) or not place.is_inside(out, f)]
    for parent, folder in {(job.output.parent, folder) for job in jobs for folder in searched}:
        if place.is_inside(parent, folder):
            raise ValueError(
                f"expected --out apart from the images, got '{out}' for those in '{folder}': the "
                "maps would be taken for images next time; do choose another --out."
            )
