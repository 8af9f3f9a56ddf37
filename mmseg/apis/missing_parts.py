"""What a machine lacks for a run, before anything is built or read.

A start complains about one thing at a time; here all of them are collected.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.apis.agreement import check_feature_distance
from mmseg.apis.checks import check_run
from mmseg.apis.dataset_sections import is_dataset
from mmseg.apis.train import training_data
from mmseg.config import Config
from mmseg.config.run_config import RunConfig
from mmseg.config.values import Section
from mmseg.datasets import CustomDataset
from mmseg.datasets.acdc import part_of_archive
from mmseg.datasets.class_statistics import statistics_files
from mmseg.datasets.joint import listed
from mmseg.datasets.unlabeled import without_labels
from mmseg.engine.provenance import weights_of
from mmseg.system.archives import has_folder, place
from mmseg.system.errors import is_for_user
from mmseg.system.hub import is_on_hub
from mmseg.system.weight_table import TABLE, path_of

SHOWN = 90  # characters of an error in a table
FOLDER, FILE = "folder", "file"
FETCHING = "docs/data.md#fetch-weights"


@dataclass(frozen=True)
class Missing:
    """One thing that a run needs and that is not there.

    Attributes:
        short: for a table: its path, or what is wrong with the config.
        sentence: what was expected, and what to do.
    """

    short: str
    sentence: str


@dataclass(frozen=True)
class Part:
    """A folder or file that the `key` of a config names.

    `root` is the folder of the dataset that `section` describes.
    """

    key: str
    path: str
    kind: str = FOLDER
    root: str | None = None
    page: str = "docs/data.md"
    section: Section = field(default_factory=dict)

    def missing(self) -> Missing | None:
        """Return what is missing: this, the dataset around it, or nothing."""
        if is_on_hub(self.path):
            return None  # it is downloaded when it is read
        if "://" in self.path:
            got = "an address, and nothing is downloaded"
            return _missing(self.path, self.key, FILE, got, self.page)
        root = self.root and Path(self.root)
        if root and not root.is_dir() and Path(self.path).is_relative_to(root):
            key = f"{self.key.rpartition('.')[0]}.data_root"
            return _missing(str(root), key, FOLDER, f"no such {FOLDER}", self.page)
        path = Path(self.path)
        inner = path.relative_to(root) if root and path.is_relative_to(root) else path
        is_folder = has_folder(path) or part_of_archive(self.root or "", inner) is not None
        if is_folder if self.kind == FOLDER else path.is_file():
            return None
        return _missing(str(path), self.key, self.kind, f"no such {self.kind}", self.page)


def missing_parts(cfg: Config, validates: bool = True, goes_on: bool = False) -> list[Missing]:
    """Return what is missing for a run, each thing once; nothing is built, no image is read.

    If the config itself cannot be trained, that is all that is returned. A run that does not
    validate needs no validation data, and one that goes on from its own checkpoint no `load_from`.
    """
    try:
        run = check_run(cfg)
        if not goes_on:
            check_feature_distance(run)
    except (ValueError, OSError, ImportError) as error:
        return [broken(error)]
    found = [part.missing() for part in needed_parts(run, validates, goes_on)]
    return list({one.short: one for one in reversed(found) if one}.values())[::-1]


def needed_parts(run: RunConfig, validates: bool = True, goes_on: bool = False) -> list[Part]:
    """Return what a run reads, whether it is there or not; arguments as of `missing_parts`."""
    return [*_data_parts(run, validates), *_weight_parts(run, goes_on), *_crop_parts(run)]


def missing_bases(bases: Iterable[Path]) -> list[Missing]:
    """Return those of the files from which a config inherits that do not exist."""
    found = []
    for base in bases:
        if not base.is_file():
            text = f"expected the config '{base}', from which others inherit, got no such file. "
            found.append(
                Missing(str(base), f"{text}Write it, or leave these runs out with --only.")
            )
    return found


def broken(error: Exception) -> Missing:
    """Return what the error of a config says; a mistake of the program is raised again.

    >>> broken(FileNotFoundError("x.py: its _base_ 'y.py' is not at configs/y.py.")).short
    "x.py: its _base_ 'y.py' is not at configs/y.py."
    """
    if not is_for_user(error):
        raise error
    text = " ".join(str(error).split())
    return Missing(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…", text)


def _data_parts(run: RunConfig, validates: bool) -> Iterator[Part]:
    train = training_data(run)
    name = "data.train.source" if train.get("source") else "data.train"
    sources = listed(train.get("source") or train)
    for source in sources:
        yield from _dataset_parts(source, name, _reads_labels(source))
    for source in sources if train.get("rare_class_sampling") else ():
        root, key = source.get("data_root"), "data.train.source.rare_class_sampling"
        files = statistics_files(root)
        if source.get("ann_dir") is None or any(file.exists() for file in files):
            yield from (Part(key, str(file), FILE, root, section=source) for file in files)
    for target in listed(train.get("target")):
        has_labels = _reads_labels(without_labels(target))
        yield from _dataset_parts(target, "data.train.target", has_labels)
    for section in listed(run.data.val) if validates else ():
        yield from _dataset_parts({**section, "dep_dir": None}, "data.val", True)


def _dataset_parts(section: Section, name: str, has_labels: bool) -> Iterator[Part]:
    """Yield what a dataset of ours reads; a class of the user's own may read anything."""
    if not section or not is_dataset(section, CustomDataset):
        return
    root = section.get("data_root")
    kinds = {"img_dir": FOLDER, "ann_dir": FOLDER if has_labels else None, "split": FILE}
    for key, kind in kinds.items():
        if kind and isinstance(section.get(key), str):
            find = place if kind == FOLDER else Path
            path = str(find(root or "", section[key]))
            yield Part(f"{name}.{key}", path, kind, root, section=section)
    if isinstance(section.get("dep_dir"), str) and not section.get("test_mode"):
        page = "docs/depth_maps.md"
        yield Part(f"{name}.dep_dir", section["dep_dir"], FOLDER, root, page, section)


def _reads_labels(section: Section) -> bool:
    steps: Any = section.get("pipeline") or ()
    return any(isinstance(s, Mapping) and s.get("type") == "LoadAnnotations" for s in steps)


def _weight_parts(run: RunConfig, goes_on: bool) -> Iterator[Part]:
    for key, path in weights_of(run):
        file = str(path_of(path)) if path in TABLE else path
        yield Part(key, file, FILE, page=FETCHING)
    if run.load_from and not goes_on:
        yield Part("load_from", run.load_from, FILE, page=FETCHING)


def _crop_parts(run: RunConfig) -> Iterator[Part]:
    """Yield what CDDA reads: the bank, and the source crops that it is about."""
    uda = run.uda or {}
    kinds = {"matrix_path": FILE, "croped_images_path": FOLDER, "croped_labels_path": FOLDER}
    for key, kind in kinds.items():
        if uda.get("matrix_path") and isinstance(uda.get(key), str):
            yield Part(f"uda.{key}", uda[key], kind)


def _missing(path: str, key: str, kind: str, got: str, page: str) -> Missing:
    sentence = f"expected a {kind} at '{path}' ({key}), got {got}. See {page}, or correct the key."
    return Missing(path, sentence)
