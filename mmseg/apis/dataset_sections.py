"""What the section of a dataset says about its classes and labels, before it is built."""

from collections.abc import Mapping
from typing import Any, NoReturn

from mmseg.config.checking import named, origin
from mmseg.config.registry import DATASETS
from mmseg.config.sections import DataConfig, Sections, each
from mmseg.config.values import Section
from mmseg.datasets import CustomDataset, FolderDataset
from mmseg.datasets.class_maps import ClassMap
from mmseg.datasets.class_table import read_class_table
from mmseg.datasets.labels import Palette, with_palette
from mmseg.system.errors import ConfigError

Names = tuple[str, ...]


def refuse(section: Any, key: str, expected: str, got: object, advice: str) -> NoReturn:
    """Raise `ConfigError` for a value that contradicts another one, or that has to be set."""
    name, place = named(section, key, "the config"), origin(section, key) or origin(section)
    raise ConfigError(f"{place}{name}: expected {expected}, got {got}. {advice}")


def classes_of(data: DataConfig) -> list[tuple[Section, Names]]:
    """Return the sections that say which classes their datasets have, and these classes."""
    named_classes = [(section, class_names(section)) for section in sections_of(data)]
    return [(section, names) for section, names in named_classes if names]


def sections_of(data: DataConfig) -> list[Section]:
    """Return the sections of all datasets of images, those of lists one by one."""
    return [*data.sources, *data.targets, *each(data.val), *each(data.test)]


def classes_and_palette(data: DataConfig) -> tuple[Names, Palette | None] | None:
    """Return the classes that a network of a config is tested on, and their colors, if it says."""
    for section in (*each(data.test), *each(data.val), *data.targets, *data.sources):
        if names := class_names(section):
            if class_map := section.get("class_map"):
                return with_palette(*ClassMap(**class_map).classes())
            usual = getattr(DATASETS.class_of(section), "PALETTE", None)
            return with_palette(names, section.get("palette") or _colors(section), usual)
    return None


def class_names(section: Section) -> Names:
    """Return the classes that a section names, else those of its type; () if nothing says them.

    `ConfigError` if classes and palette do not go together.
    """
    if class_map := section.get("class_map"):
        return ClassMap(**class_map).classes()[0]
    names = section.get("classes")
    if names is None:
        names = getattr(DATASETS.class_of(section), "CLASSES", None) or ()
    if _is_table(names):
        return read_class_table(names).names
    try:
        return with_palette(names, section.get("palette"))[0]
    except ValueError as error:
        key = "palette" if len(set(names)) == len(names) else "classes"
        place = f"{origin(section, key)}{named(section, key, 'the config')}"
        raise ConfigError(f"{place}: {error}") from None


def _is_table(classes: Any) -> bool:
    """Tell whether classes are a table of more than names, or the file of one."""
    return isinstance(classes, str) or any(isinstance(one, Mapping) for one in classes)


def _colors(section: Section) -> Palette | None:
    """Return the colors in the table of a section's classes."""
    classes = section.get("classes") or ()
    return read_class_table(classes).colors if _is_table(classes) else None


def check_labels(sections: Sections | None) -> None:
    """Raise `ConfigError` for datasets that are trained or evaluated on without classes or labels.

    A class of the user's own may have both from elsewhere.
    """
    for section in each(sections):
        _check_labels(section)


def _check_labels(section: Section) -> None:
    kind = DATASETS.class_of(section)
    own = (CustomDataset.__init__, FolderDataset.__init__)
    if getattr(kind, "__init__", None) not in own:
        return
    if not class_names(section):
        advice = "Set classes=[…] in this section, the names in the order of the train ids."
        refuse(section, "classes", "the names of the classes", "none", advice)
    if section.get("ann_dir") is None:
        refuse(section, "ann_dir", "the folder of the labels", "none", "Set ann_dir.")


def is_dataset(section: Section, kind: type) -> bool:
    """Tell whether the type of a section is a class or a subclass of it."""
    own = DATASETS.class_of(section)
    return isinstance(own, type) and issubclass(own, kind)
