"""Find the folders of images, labels and depth maps of a dataset, by name or by content."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from mmseg.datasets.depth.bins import png_name
from mmseg.datasets.image_files import files_below, images_below, read_unchanged
from mmseg.datasets.pairing import SUFFIXES, find_endings, last_part, usual_suffix
from mmseg.preprocessing.new_dataset.roles import are_labels, by_content, named, of_part, role_of
from mmseg.system import archives
from mmseg.system.errors import ConfigError

LOOKED_AT = 3  # depth maps
MOST_ENDINGS = 6
MOST = 16  # folders that are compared


@dataclass(frozen=True)
class Wanted:
    """Where a person says that the pictures of a domain are; None is found out."""

    what: str  # of the sentence, such as 'SOURCE'
    path: str
    images: str | None = None
    labels: str | None = None
    depth: str | None = None
    part: str = "train"
    reads_labels: Literal["must", "may", "no"] = "must"


@dataclass(frozen=True)
class Domain:
    """The pictures of a domain, in the words of a `FolderDataset`."""

    root: str  # may be an archive
    images: str  # folder of the images in `root`
    labels: str | None
    img_suffix: str
    seg_map_suffix: str | None
    stems: Mapping[str, str]  # image -> stem; those with a label, or all if there are no labels
    unlabeled: tuple[str, ...] = ()  # images without a label, where others have one
    others: tuple[str, ...] = ()  # pictures in the folder of images that do not count
    depth: str | None = None  # folder of the depth maps, from the current folder
    depth_fault: str | None = None  # why the maps that were found are of no use
    list_reason: str | None = None  # why a file has to list the images

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images."""
        return tuple(self.stems)

    @property
    def image_dir(self) -> Path:
        """The folder of the images."""
        return Path(self.root, self.images)

    def label_of(self, name: str) -> Path:
        """Return the path of an image's label."""
        assert self.labels is not None and self.seg_map_suffix is not None
        return Path(self.root, self.labels, self.stems[name] + self.seg_map_suffix)

    def part(self, names: Iterable[str], why: str) -> "Domain":
        """Return a part of the images, which a file has to list."""
        return replace(self, stems={name: self.stems[name] for name in names}, list_reason=why)


def find_domain(wanted: Wanted) -> Domain:
    """Find the folders of a domain; `ConfigError` if there are no images, or no needed labels."""
    root = _root(wanted)
    names = [n for n in files_below(Path(root)) if PurePosixPath(n).suffix.lower() in SUFFIXES]
    if not names:
        raise ConfigError(
            f"expected pictures in {wanted.what}, '{wanted.path}', got none. Correct the path."
        )
    images, labels = _folders(wanted, root, names)
    labels = [] if wanted.reads_labels == "no" else labels
    pairs = [_pair(root, names, image, label) for image in images for label in labels]
    if not labels and wanted.reads_labels != "no":
        pairs = [_beside(root, names, image) for image in images]
    found = max(filter(None, pairs), key=lambda pair: len(pair.names), default=None)
    if found is None and wanted.reads_labels == "must":
        raise _unpaired(wanted, images, labels)
    if found is None:
        inside = Counter({folder: len(_below(names, folder)) for folder in images})
        found = _without_labels(wanted, root, inside.most_common(1)[0][0])
    depth, fault = _depth(wanted, root, names, found)
    return replace(found, depth=depth, depth_fault=fault)


def _root(wanted: Wanted) -> str:
    """Return the folder or archive as a config writes it."""
    path = Path(wanted.path)
    text = path.as_posix()
    if archives.is_inside(path) and archives.has_folder(path):
        return text
    if path.suffix.lower() in archives.SUFFIXES and archives.has_folder(f"{text}!"):
        return f"{text}!"
    if not path.is_dir():
        raise ConfigError(
            f"expected {wanted.what} to be a folder, or a zip or tar archive, got nothing of the "
            f"kind at '{text}'. Correct the path."
        )
    if not any(PurePosixPath(n).suffix.lower() in SUFFIXES for n in files_below(path)):
        for suffix in archives.SUFFIXES:
            if any(path.glob(f"*{suffix}")):
                return f"{text}/*{suffix}!"
    return text


def _folders(wanted: Wanted, root: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the folders that may hold images and those that may hold labels."""
    images = _given(wanted, root, "images") or named(names, "images", wanted.part)
    labels = _given(wanted, root, "labels") or named(names, "labels", wanted.part)
    if not images or not (labels or wanted.reads_labels == "no"):
        rest = [n for n in names if role_of(n) is None and not _is_below(n, [*images, *labels])]
        drawn, groups = by_content(root, rest)
        images = images or of_part(groups, wanted.part)
        labels = labels or of_part(drawn, wanted.part)
    if not images:
        raise ConfigError(
            f"expected a folder of images in {wanted.what}, '{wanted.path}', got none that is "
            "called so or looks so. Name it with --images, --target-images or --val-images."
        )
    return images[:MOST], labels[:MOST]


def _given(wanted: Wanted, root: str, role: str) -> list[str]:
    folder = getattr(wanted, role)
    if folder is not None and not archives.has_folder(Path(root, folder)):
        raise ConfigError(
            f"expected the folder of {role} of {wanted.what} at '{Path(root, folder)}', got no "
            "such folder. Correct the option; it is relative to the dataset."
        )
    return [] if folder is None else [PurePosixPath(folder).as_posix()]


def _is_below(name: str, folders: Iterable[str]) -> bool:
    return any(name.startswith(f"{folder}/") for folder in folders)


def _below(names: Iterable[str], folder: str) -> list[str]:
    prefix = f"{folder}/" if folder not in ("", ".") else ""
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _pair(root: str, names: Sequence[str], images: str, labels: str) -> Domain | None:
    """Return a folder of images and one of labels, or None if their names do not go together."""
    own, theirs = _below(names, images), _below(names, labels)
    endings = None if images == labels else find_endings(own, theirs)
    return None if endings is None else _domain(root, (images, labels), endings, theirs)


def _beside(root: str, names: Sequence[str], folder: str) -> Domain | None:
    """Return a folder in which labels lie beside the images, or None if it is none."""
    own = _below(names, folder)
    usual = [ending for ending, _ in Counter(map(last_part, own)).most_common(MOST_ENDINGS)]
    groups = {ending: [name for name in own if name.endswith(ending)] for ending in usual}
    drawn = [e for e in usual if are_labels(str(Path(root, folder)), groups[e])]
    pairs = [
        _domain(root, (folder, folder), (ending, label_ending), groups[label_ending])
        for ending in usual
        for label_ending in drawn
        if ending != label_ending
    ]
    return max(filter(None, pairs), key=lambda pair: len(pair.names), default=None)


def _domain(
    root: str, folders: tuple[str, str], endings: tuple[str, str], theirs: Sequence[str]
) -> Domain | None:
    """Return a domain of images and labels; `theirs` are the names of the latter."""
    (images, labels), (ending, label_ending), known = folders, endings, {*theirs}
    present, left_out = images_below(Path(root, images), ending)
    if images == labels:
        present = {stem: name for stem, name in present.items() if name not in known}
    labeled = {n: stem for stem, n in sorted(present.items()) if stem + label_ending in known}
    rest = tuple(sorted({*present.values()} - {*labeled}))
    counted = {*present.values(), *(known if images == labels else ())}
    others = _others(root, images, counted, left_out)
    is_mixed = images == labels and label_ending.endswith(ending)
    why = f"Not used, because they have no label: {len(rest)} of the images." if rest else None
    why = why or ("Labels lie beside the images, and end alike." if is_mixed else None)
    found = Domain(
        root, images, labels, ending, label_ending, labeled, rest, others, list_reason=why
    )
    return found if labeled else None


def _without_labels(wanted: Wanted, root: str, images: str) -> Domain:
    suffix = usual_suffix(files_below(Path(root, images)))
    assert suffix is not None
    present, left_out = images_below(Path(root, images), suffix)
    others = _others(root, images, {*present.values()}, left_out)
    if roles := {role_of(name) for name in others} - {None, "images"}:
        raise ConfigError(
            f"expected a folder of images alone in {wanted.what}, '{wanted.path}', got "
            f"{' and '.join(sorted(map(str, roles)))} beside them in '{Path(root, images)}'. Move "
            "the images to a folder of their own, or name it with --images, --target-images or "
            "--val-images."
        )
    stems = {name: stem for stem, name in sorted(present.items())}
    return Domain(root, images, None, suffix, None, stems, (), others)


def _others(root: str, images: str, counted: set[str], left_out: Sequence[str]) -> tuple[str, ...]:
    inside = files_below(Path(root, images))
    pictures = {n for n in inside if PurePosixPath(n).suffix.lower() in SUFFIXES}
    return tuple(sorted((pictures - counted) | set(left_out)))


def _unpaired(wanted: Wanted, images: Sequence[str], labels: Sequence[str]) -> ConfigError:
    if not labels:
        return ConfigError(
            f"expected a folder of labels in {wanted.what}, '{wanted.path}', got none that is "
            "called so or looks so. Name it with --labels or --val-labels."
        )
    return ConfigError(
        f"expected labels called like the images in {wanted.what}, '{wanted.path}', got none that "
        f"is: images in '{images[0]}', labels in '{labels[0]}'. Rename them alike, such as "
        "a/1.jpg and a/1.png, or name other folders with --images and --labels."
    )


def _depth(
    wanted: Wanted, root: str, names: Sequence[str], found: Domain
) -> tuple[str | None, str | None]:
    """Return the folder of depth maps that fit, or why those that are there do not."""
    if wanted.depth is not None:
        inside = Path(root, wanted.depth)
        folders = [inside if archives.has_folder(inside) else Path(wanted.depth)]
    else:
        folders = [Path(root, folder) for folder in named(names, "depth", wanted.part)]
    faults = []
    for folder in folders[:MOST]:
        if (fault := _depth_fault(found, folder)) is None:
            return folder.as_posix(), None
        faults.append(f"'{folder.as_posix()}': {fault}")
    if wanted.depth is not None and faults:
        raise ConfigError(
            f"expected depth maps of the images of {wanted.what} in {faults[0]}. Make them with "
            "tools/make_depth.py (docs/depth_maps.md), or leave the option out."
        )
    return None, faults[0] if faults else None


def _depth_fault(found: Domain, folder: Path) -> str | None:
    """Say why a folder does not hold the depth maps of the images."""
    if not archives.has_folder(folder):
        return "got no such folder"
    maps = set(files_below(folder))
    if missing := [name for name in found.names if png_name(name) not in maps]:
        return f"got no map '{png_name(missing[0])}' of '{missing[0]}'"
    for name in found.names[:: -(-len(found.names) // LOOKED_AT)]:
        depth = read_unchanged(folder / png_name(name))
        size = read_unchanged(found.image_dir / name).shape[:2]
        if depth.ndim != 2 or depth.shape != size:
            return (
                f"got shape {depth.shape} in '{png_name(name)}' for an image of {size}, which "
                "needs one channel and the same size"
            )
    return None


def spread(names: Sequence[str], most: int) -> Iterator[str]:
    """Yield at most this many names, evenly spread over all.

    >>> list(spread("abcdefg", 3))
    ['a', 'd', 'g']
    """
    yield from names[:: max(-(-len(names) // most), 1)]
