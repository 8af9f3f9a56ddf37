"""The class statistics that a converter leaves in the folder of a dataset, and whether they fit it.

They may be of other files, or older than the labels: rare classes would be drawn from images that
do not hold them. So the files are compared by name, and a few labels are counted again. Where no
converter has left any, the labels are counted here.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.depth.inspection import sampled
from mmseg.datasets.label_counts import label_counts
from mmseg.datasets.pipelines.reading import LoadAnnotations
from mmseg.system.files import refuse_endless

STATISTICS_FILE = "sample_class_stats.json"
IMAGES_FILE = "samples_with_class.json"
NUM_VALUES = 256


def statistics_files(data_root: str | Path | None) -> tuple[Path, Path]:
    """Return where a converter leaves the statistics, and the list of images of each class.

    If neither is there, the labels are counted instead.
    """
    root = Path(data_root or ".")
    return root / STATISTICS_FILE, root / IMAGES_FILE


class ClassStatistics:
    """How many pixels of each class the labels of `source` have.

    Attributes:
        entries: `{train id: pixels, …, "file": path}` per label.
        by_class: `[[path, pixels], …]` per train id, as a string.
        image_of: index of the image that a path belongs to; paths without an image are left out.
        warnings: what looks wrong, but is none of training's business.
    """

    def __init__(self, source: CustomDataset) -> None:
        self.source = source
        self.remedy = source.remedy("statistics")
        files = statistics_files(source.data_root)
        self.path = files[0]
        self.warnings: list[str] = []
        if not any(file.exists() for file in files) and source.ann_dir is not None:
            self._count()
            return
        self.entries: list[dict[str, Any]] = self._load(STATISTICS_FILE, _is_statistics)
        self.by_class: dict[str, list] = self._load(IMAGES_FILE, _is_index)
        listed = dict.fromkeys(file for entries in self.by_class.values() for file, _ in entries)
        listed.update(dict.fromkeys(entry["file"] for entry in self.entries))
        labels = [info["ann"]["seg_map"] for info in source.img_infos]
        self.image_of = images_of(listed, labels)
        self._check_any(listed, labels)
        self._check_classes()
        self._check_all(labels)
        self._count_again()
        self.warnings = [] if source.split else self._absent(listed)

    def _count(self) -> None:
        """Take the counts of the labels themselves: no converter has left any."""
        self.entries = label_counts(self.source)
        self.by_class = {}
        for entry in self.entries:
            for chosen in entry.keys() - {"file"}:
                self.by_class.setdefault(chosen, []).append([entry["file"], entry[chosen]])
        self.image_of = {entry["file"]: index for index, entry in enumerate(self.entries)}
        if not self.by_class:
            self.source.require_labeled()

    def _load(self, name: str, is_right: Callable[[Any], bool]) -> Any:
        path = self.path.with_name(name)
        expected = f"expected the class statistics for rare class sampling at '{path}'"
        refuse_endless(path, "the class statistics for rare class sampling")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{expected}, got no such file. {self.remedy}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{expected}, got a broken file ({error}). {self.remedy}") from error
        if not content:
            raise ValueError(f"{expected}, got an empty list. {self.remedy}")
        if not is_right(content):
            raise ValueError(f"{expected}, got JSON that no converter wrote. {self.remedy}")
        return content

    def _check_any(self, listed: Iterable[str], labels: Sequence[str]) -> None:
        """Raise if the statistics list none of the labels."""
        if not self.image_of:
            raise ValueError(
                f"expected the class statistics at '{self.path.with_name(IMAGES_FILE)}' to list "
                f"labels of this dataset, such as '{labels[0]}', got other files only, such as "
                f"'{next(iter(listed), None)}'. {self.remedy}"
            )

    def _check_all(self, labels: Sequence[str]) -> None:
        """Raise if the statistics do not list all of the labels."""
        counted = {self.image_of.get(entry["file"]) for entry in self.entries}
        if missing := [label for index, label in enumerate(labels) if index not in counted]:
            raise ValueError(
                f"expected the class statistics at '{self.path}' to list all {len(labels)} labels "
                f"of this dataset, got {len(missing)} that they lack, such as '{missing[0]}': they "
                f"are older, or of other files. {self.remedy}"
            )

    def _check_classes(self) -> None:
        """Raise for classes that do not exist, or if both files do not say the same."""
        rule = self.source.label_rule
        pixels = class_pixels(self.entries)
        unknown = [c for c in sorted(pixels) if rule is not None and c >= rule.num_classes]
        if rule is not None and unknown:
            raise ValueError(
                f"expected the classes 0…{rule.num_classes - 1} in the class statistics at "
                f"'{self.path}', got class {unknown[0]}. {self.remedy}"
            )
        others = {int(c): sum(n for _, n in entries) for c, entries in self.by_class.items()}
        differing = sorted(c for c in pixels | others if pixels.get(c, 0) != others.get(c, 0))
        if differing:
            raise ValueError(
                f"expected one conversion to have written '{self.path}' and '{IMAGES_FILE}' beside "
                f"it, got {pixels.get(differing[0], 0)} and {others.get(differing[0], 0)} pixels "
                f"of class {differing[0]}. {self.remedy}"
            )

    def _count_again(self) -> None:
        """Raise if one of a few labels has other pixels than the statistics say."""
        folder, rule = self.source.ann_dir, self.source.label_rule
        steps = [s for s in self.source.pipeline.steps if type(s) is LoadAnnotations]
        if folder is None or not steps or any(step.reduce_zero_label for step in steps):
            return  # steps of one's own may read other classes than the files hold
        num_classes = NUM_VALUES - 1 if rule is None else rule.num_classes
        entry_of = {self.image_of.get(entry["file"]): entry for entry in self.entries}
        infos = self.source.img_infos
        for index in sampled(len(infos)):
            path, entry = folder / infos[index]["ann"]["seg_map"], entry_of[index]
            label = self.source.label_format.read(path)
            counts = np.bincount(label.ravel(), minlength=NUM_VALUES)[:num_classes].tolist()
            for chosen, found in enumerate(counts):
                if found != entry.get(str(chosen), 0):
                    raise ValueError(
                        f"expected the class statistics at '{self.path}' to be those of the "
                        f"labels, got {entry.get(str(chosen), 0)} pixels of class {chosen} for "
                        f"'{path}', which has {found}: the label was changed later. {self.remedy}"
                    )

    def _absent(self, listed: Iterable[str]) -> list[str]:
        """Say which labels are counted, although their images are not there."""
        absent = [file for file in listed if file not in self.image_of]
        if not absent:
            return []
        return [
            f"The class statistics at '{self.path}' count {len(absent)} labels without an image in "
            f"'{self.source.img_dir}', such as '{absent[0]}'. If they were removed, "
            f"count the labels again. {self.remedy}"
        ]


def class_pixels(entries: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Return the pixels of each train id, in the order in which they first come.

    >>> class_pixels([{"3": 5, "file": "a"}, {"0": 1, "3": 2, "file": "b"}])
    {3: 7, 0: 1}
    """
    pixels: dict[int, int] = defaultdict(int)
    for key, count in (item for entry in entries for item in entry.items()):
        if key != "file":
            pixels[int(key)] += count
    return dict(pixels)


def images_of(listed: Iterable[str], labels: Sequence[str]) -> dict[str, int]:
    r"""Return which of `labels`, paths below their folder, each of the `listed` paths is.

    The listed paths may be of another folder, current directory or system. Labels of one base name
    in two folders are two labels.

    >>> images_of(["gta/a/1.png", r"gta\b\1.png", "gta/c/1.png"], ["b/1.png", "a/1.png"])
    {'gta/a/1.png': 1, 'gta\\b\\1.png': 0}
    """
    parts = {file: _parts(file) for file in listed}
    index_of = {_parts(label): index for index, label in enumerate(labels)}
    lengths = {len(own) for own in index_of}
    # A converter lists one folder: what stands before the names is the same for all.
    roots = Counter(
        path[:-n] for path in parts.values() for n in lengths if path[-n:] in index_of
    ).most_common(1)
    places = {(*roots[0][0], *own): index for own, index in index_of.items()} if roots else {}
    found = {file: places[path] for file, path in parts.items() if path in places}
    taken, ends = set(found.values()), defaultdict(list)
    for own, index in index_of.items():
        for n in range(1, len(own)):
            ends[own[-n:]].append(index)
    for file, path in parts.items():  # of another folder, or listed from a folder further inside
        if file in found:
            continue
        inner = [index_of[path[-n:]] for n in lengths if path[-n:] in index_of]
        alike = [index for index in [*inner, *ends.get(path, [])] if index not in taken]
        if len(alike) == 1:
            found[file] = alike[0]
    return found


def _parts(path: str) -> tuple[str, ...]:
    """Split a path of any system; bytes that Python escaped where names are ASCII are UTF-8."""
    letters = path.encode(errors="surrogateescape").decode(errors="surrogateescape")
    return tuple(letters.replace("\\", "/").split("/"))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _is_statistics(content: Any) -> bool:
    """Tell whether this is `[{train id: pixels, …, "file": path}, …]`."""
    return isinstance(content, list) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("file"), str)
        and all(k == "file" or (k.isdecimal() and _is_count(n)) for k, n in entry.items())
        for entry in content
    )


def _is_index(content: Any) -> bool:
    """Tell whether this is `{train id: [[path, pixels], …], …}`."""
    return isinstance(content, dict) and all(
        key.isdecimal()
        and isinstance(entries, list)
        and all(
            isinstance(e, list) and len(e) == 2 and isinstance(e[0], str) and _is_count(e[1])
            for e in entries
        )
        for key, entries in content.items()
    )
