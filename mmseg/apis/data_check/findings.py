"""What can be wrong in the data, and how it is said."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SHOWN_FILES = 5
ERROR, WARNING = "error", "warning"
# A training ends with an error, or is spoiled by it; of a warning, it is for the user to judge.
# What comes first is said first.
KINDS = {
    "config": ERROR,
    "classes-differ": ERROR,
    "dataset-unusable": ERROR,
    "dataset-of-your-own": WARNING,
    "images-left-out": WARNING,
    "image-unreadable": ERROR,
    "image-smaller-than-crop": WARNING,
    "image-in-train-and-val": ERROR,
    "image-without-label": ERROR,
    "label-without-image": WARNING,
    "label-unreadable": ERROR,
    "label-is-jpeg": ERROR,
    "label-in-colors": ERROR,
    "label-of-another-kind": ERROR,
    "label-of-another-size": ERROR,
    "color-of-no-class": ERROR,
    "id-out-of-range": ERROR,
    "label-all-ignored": WARNING,
    "labels-all-ignored": ERROR,
    "class-never-occurs": WARNING,
    "class-too-small": ERROR,
    "statistics-wrong": ERROR,
    "statistics-of-more-labels": WARNING,
    "depth-missing": ERROR,
    "depth-unreadable": ERROR,
    "depth-in-colors": ERROR,
    "depth-of-another-kind": ERROR,
    "depth-of-another-size": ERROR,
    "depth-constant": WARNING,
    "depth-0-to-1": WARNING,
    "depth-16-bit": WARNING,
    "depth-inverted": WARNING,
    "depth-made-differently": WARNING,
    "bank-missing": ERROR,
    "bank-unreadable": ERROR,
    "bank-of-other-crops": ERROR,
    "bank-of-other-depth": WARNING,
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one or many files.

    Attributes:
        where: the part of the config, such as "data.train.source".
        kind: one of `KINDS`.
        sentence: what was expected, what there is, and what to do.
        files: the first few of the files that it is about.
        count: how many files (or classes) it is about.
    """

    where: str
    kind: str
    sentence: str
    files: tuple[str, ...] = ()
    count: int = 1

    @property
    def level(self) -> str:
        """How bad it is, `ERROR` or `WARNING`."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file: the `kind` of the finding, and the sentence about the file."""

    kind: str
    file: str
    sentence: str


def findings_of(where: str, problems: Iterable[Problem]) -> Iterator[Finding]:
    """Yield a finding for each kind of problem, with the sentence about the first file."""
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    for kind, alike in by_kind.items():
        yield about_files(where, kind, alike[0].sentence, [problem.file for problem in alike])


def about_files(where: str, kind: str, sentence: str, files: Iterable[object]) -> Finding:
    """Return a finding about some files."""
    names = [str(file) for file in files]
    return Finding(where, kind, sentence, tuple(names[:SHOWN_FILES]), len(names))
