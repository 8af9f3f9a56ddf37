"""What is wrong between the parts of a config. A new check is a line in `CONFIG_CHECKS`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from mmseg.apis.agreement import check_classes
from mmseg.apis.checks import check_run
from mmseg.apis.data_check.findings import Finding, about_files
from mmseg.apis.data_check.parts import SOURCE, SUPERVISED, TARGET, TEST, VAL
from mmseg.apis.data_check.scan import Scan
from mmseg.config import Config
from mmseg.config.checking import keys_of
from mmseg.config.run_config import ConfigParts, read_run
from mmseg.datasets.class_statistics import ClassStatistics, statistics_files
from mmseg.datasets.depth.fit import crop_warnings
from mmseg.datasets.depth.record import record_warnings
from mmseg.models.builder import statistics_dataset
from mmseg.models.uda.depthmetric.bank import load_bank
from mmseg.models.uda.depthmetric.source_crops import load_source_crops
from mmseg.models.uda.settings import DACSSettings
from mmseg.system.errors import ConfigError, is_for_user

RARE = "data.train.rare_class_sampling"
BANK = "uda.matrix_path"


@dataclass(frozen=True)
class Scanned:
    """A config, and what its datasets are like, by the names of their sections."""

    cfg: Config
    parts: ConfigParts
    scans: Mapping[str, Scan]

    def of(self, role: str) -> list[Scan]:
        """Return the datasets of a role; a list in the config makes several."""
        return [scan for scan in self.scans.values() if scan.part.role == role]

    @property
    def uda(self) -> Mapping[str, Any]:
        """The section of the method; empty without one."""
        return self.parts.uda or {}


def contradictions(scanned: Scanned) -> Iterator[Finding]:
    """Yield the first thing that a training would refuse in the config itself."""
    try:
        check_run(scanned.cfg)
    except (OSError, ValueError, ImportError) as error:
        if not is_for_user(error):
            raise
        kind = "classes-differ" if _have_other_classes(scanned.cfg, str(error)) else "config"
        yield Finding("config", kind, str(error))


def _have_other_classes(cfg: Config, sentence: str) -> bool:
    """Tell whether a sentence is about the classes of network and datasets."""
    try:
        check_classes(read_run(cfg))
    except (OSError, ValueError) as error:
        return str(error) == sentence
    return False


def absent_classes(scanned: Scanned) -> Iterator[Finding]:
    """Yield the classes that no label shows, but for those that the datasets never label."""
    for role in (SUPERVISED, SOURCE, VAL, TEST):
        scans = [scan for scan in scanned.of(role) if scan.pixels]
        if not scans:
            continue
        dataset, pixels = scans[0].part.dataset, _pixels(scans)
        usual = set.intersection(*(_never_labeled(scan) for scan in scans))
        classes = enumerate(dataset.CLASSES)
        absent = [name for c, name in classes if not pixels[c] and c not in usual]
        if absent:
            sentence = (
                f"expected each of the {len(dataset.CLASSES)} classes in '{dataset.ann_dir}', got "
                f"no pixel of {', '.join(absent)}. Nothing is learned or measured of them: check "
                "the ids of the labels, or leave these classes out."
            )
            yield Finding(role, "class-never-occurs", sentence, count=len(absent))


def _pixels(scans: list[Scan]) -> Counter[int]:
    return sum((scan.pixels for scan in scans), Counter())


def _never_labeled(scan: Scan) -> set[int]:
    """Return the classes of a type of datasets that its labels never show."""
    dataset = scan.part.dataset
    return set(dataset.UNLABELED_CLASSES if dataset.CLASSES == type(dataset).CLASSES else ())


def wrong_statistics(scanned: Scanned) -> Iterator[Finding]:
    """Yield whether the statistics that a converter wrote are not those of the source's labels."""
    for scan in scanned.of(SOURCE) if _sampling(scanned) else ():
        files = statistics_files(scan.part.dataset.data_root)
        if any(file.exists() for file in files):
            yield from _statistics(scan, str(files[0]))


def _statistics(scan: Scan, file: str) -> Iterator[Finding]:
    try:
        warnings = ClassStatistics(scan.part.dataset).warnings
    except (OSError, ValueError) as error:
        if not is_for_user(error):
            raise
        sentence = str(error)  # which may be about a label that is known to be wrong
        labels = (scan.part.label_file(i) for i, look in enumerate(scan.looks) if look.problems)
        if not any(str(label) in sentence for label in labels):
            yield Finding(scan.part.name, "statistics-wrong", sentence, (file,))
        return
    for warning in warnings:
        yield Finding(scan.part.name, "statistics-of-more-labels", warning, (file,))


def small_classes(scanned: Scanned) -> Iterator[Finding]:
    """Yield the classes that are to be sampled, and of which no image has enough pixels."""
    scans, least = scanned.of(SOURCE), _sampling(scanned).get("min_pixels")
    if not scans or not isinstance(least, int):
        return
    dataset, too_small = scans[0].part.dataset, []
    counts = [look.pixels for scan in scans for look in scan.looks if look.pixels]
    for c in sorted(_pixels(scans)):
        most = max(pixels.get(c, 0) for pixels in counts)
        if most <= least:
            name = dataset.CLASSES[c] if dataset.CLASSES else c
            too_small.append(f"{name} (at most {most})")
    if too_small:
        sentence = (
            f"expected an image of '{dataset.img_dir}' with more than {least} pixels of each class "
            f"that occurs, got none of {', '.join(too_small)}. Lower "
            "rare_class_sampling.min_pixels."
        )
        yield Finding(RARE, "class-too-small", sentence, count=len(too_small))


def _sampling(scanned: Scanned) -> Mapping[str, Any]:
    return (scanned.parts.data.train or {}).get("rare_class_sampling") or {}


def depth_of_two_recipes(scanned: Scanned) -> Iterator[Finding]:
    """Yield whether the depth maps of source and target were made differently."""
    pairs = product(*(_depth_folders(scanned, role) for role in (SOURCE, TARGET)))
    for folders in dict.fromkeys(pairs):
        for warning in record_warnings(*folders):
            yield about_files("data.train", "depth-made-differently", warning, folders)


def _depth_folders(scanned: Scanned, role: str) -> list[Path]:
    folders = [scan.part.dataset.dep_dir for scan in scanned.of(role)]
    return [folder for folder in folders if folder is not None]


def crops_and_bank(scanned: Scanned) -> Iterator[Finding]:
    """Yield whether CDDA's bank, its source crops and the depth maps do not belong together."""
    settings = _settings(scanned)
    if settings is None or not settings.uses_depth:
        return
    bank, crops = str(settings.matrix_path), Path(str(settings.croped_images_path))
    try:
        load_source_crops(settings, _num_classes(scanned))
    except (OSError, ValueError) as error:
        if not is_for_user(error):
            raise
        yield Finding(BANK, _bank_kind(settings), str(error), (bank,))
    depth = next(iter(_depth_folders(scanned, SOURCE)), None)
    for warning in crop_warnings([Path(bank).parent, crops.parent], depth):
        yield Finding(BANK, "bank-of-other-depth", warning, (bank,))


def _settings(scanned: Scanned) -> DACSSettings | None:
    """Return the settings of the method if it may read crops and they can be read."""
    if not scanned.uda.get("matrix_path"):
        return None
    keys, _ = keys_of(DACSSettings)
    values = {key: value for key, value in scanned.uda.items() if key in keys}
    try:
        values["dataset"] = statistics_dataset(scanned.uda, scanned.parts.data.source)
        return DACSSettings(**values)
    except ConfigError:  # which `contradictions` tells
        return None


def _num_classes(scanned: Scanned) -> int:
    head = scanned.parts.model.get("decode_head") or {}
    sources = scanned.of(SOURCE)
    return head.get("num_classes") or len(sources[0].part.dataset.CLASSES if sources else ())


def _bank_kind(settings: DACSSettings) -> str:
    """Return the kind of problem with a bank that training refuses."""
    if not Path(str(settings.matrix_path)).is_file():
        return "bank-missing"
    try:
        load_bank(str(settings.matrix_path), str(settings.dataset))
    except (OSError, ValueError):
        return "bank-unreadable"
    return "bank-of-other-crops"


CONFIG_CHECKS: tuple[Callable[[Scanned], Iterator[Finding]], ...] = (
    contradictions,
    absent_classes,
    wrong_statistics,
    small_classes,
    depth_of_two_recipes,
    crops_and_bank,
)
