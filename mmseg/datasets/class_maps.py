"""Map the classes of one dataset onto those of another: by name, or by names that are stated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.config.registry import DATASETS
from mmseg.config.values import Text
from mmseg.datasets.class_table import Classes, ClassTable, read_class_table
from mmseg.datasets.labels import IGNORE, Palette
from mmseg.system.errors import ConfigError, nearest


@dataclass(frozen=True)
class ClassMap:
    """The keys of `class_map` in the section of a dataset.

    `names` says what classes are called that have another name there, or that do not count (None).
    """

    to: Classes  # the classes of the network: a table, its file, or a type such as 'GTADataset'
    names: Mapping[str, Text | None] = field(default_factory=dict)

    def classes(self) -> tuple[tuple[str, ...], Palette | None]:
        """Return the names and colors of the classes that are mapped onto."""
        if isinstance(self.to, str) and self.to in DATASETS:
            cls: Any = DATASETS.get(self.to)
            return tuple(cls.CLASSES), cls.PALETTE
        table: ClassTable = read_class_table(self.to)
        return table.names, table.colors

    def lookup(self, own: Sequence[str]) -> list[int]:
        """Return the new train id of each own class, 255 for those that do not count."""
        new, _ = self.classes()
        if unknown := [name for name in self.names if name not in own]:
            raise ConfigError(
                f"expected classes of this dataset as keys of class_map.names, got {unknown[0]!r}"
                f"{nearest(unknown[0], own)}"
            )
        found = []
        for name in own:
            other = self.names.get(name, name)
            if other is not None and other not in new:
                raise ConfigError(
                    f"expected a class of class_map.to for {name!r}, got {other!r}, which is none. "
                    f"Add class_map.names={{{name!r}: …}}, with the name there or None."
                )
            found.append(IGNORE if other is None else new.index(other))
        return found


@dataclass(frozen=True)
class MappedLabels:
    """Labels whose train ids are replaced by those of other classes."""

    read: Callable[[Path], np.ndarray]
    train_ids: tuple[int, ...]

    @cached_property
    def lookup(self) -> np.ndarray:
        """The new value of each of the 256 values."""
        table = np.full(256, IGNORE, np.uint8)
        table[: len(self.train_ids)] = self.train_ids
        return table

    def __call__(self, path: Path) -> np.ndarray:
        """Return the train ids (H, W) of a file."""
        return self.lookup[self.read(path)]
