"""Which images a dataset has, and what their labels are called."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.datasets.image_files import images_below
from mmseg.system.archives import has_folder
from mmseg.system.files import refuse_endless


@dataclass(frozen=True)
class ImageList:
    """The images of a folder, or those of them that a file lists.

    `name` is that of the dataset, for errors; suffixes and `part` are as in `CustomDataset`.
    """

    name: str
    folder: Path
    split: Path | None
    img_suffix: str
    seg_map_suffix: str
    part: str | None = None

    def read(self) -> list[dict[str, Any]]:
        """List the images with their labels' names, sorted; an error if there are none."""
        if not has_folder(self.folder):
            raise FileNotFoundError(
                f"expected the images of {self.name} in '{self.folder}', got no such folder. "
                f"Download them (docs/data.md) or correct data_root and img_dir."
            )
        present, twins = images_below(self.folder, self.img_suffix)
        if twins:
            warnings.warn(
                f"{len(twins)} images of '{self.folder}' are left out: their names differ from "
                f"those of others in the spelling of the suffix alone, as '{twins[0]}' does.",
                stacklevel=2,
            )
        if self.part is not None:
            present = {k: v for k, v in present.items() if self.part in k.split("/")[:-1]}
        stems = present if self.split is None else self._select(present, self.split)
        if not stems:
            raise FileNotFoundError(
                f"expected images '*{self.img_suffix}' of {self.name} in "
                f"'{self.split or self.folder}', got none. Check the folder."
            )
        pairs = sorted((present[stem], stem + self.seg_map_suffix) for stem in stems)
        return [{"filename": name, "ann": {"seg_map": label}} for name, label in pairs]

    def _select(self, present: Mapping[str, str], split: Path) -> list[str]:
        """Return the names that `split` lists, without suffix, or raise if one is not present."""
        wanted = f"expected a list of images of {self.name} as UTF-8 text at '{split}'"
        advice = "Write one image name without suffix per line"
        refuse_endless(split, "a list of images")
        try:
            lines = split.read_text(encoding="utf-8").split("\n")
        except (FileNotFoundError, IsADirectoryError):
            message = f"{wanted}, got no such file. {advice}, or leave split out."
            raise FileNotFoundError(message) from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{wanted}, got something else. {advice}.") from error
        stems = sorted(line.strip() for line in lines if line.strip())
        if missing := [stem for stem in stems if stem not in present]:
            raise FileNotFoundError(
                f"expected the images listed in '{split}' in '{self.folder}', got no file "
                f"for {len(missing)} of {len(stems)}, the first '{missing[0]}{self.img_suffix}'. "
                f"Correct the list (one image name without '{self.img_suffix}' per line) or add "
                f"the images."
            )
        return stems
