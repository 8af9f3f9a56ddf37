"""Find out how the labels of a folder are called after its images."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SEPARATORS = "_-."


def usual_suffix(names: Iterable[str]) -> str | None:
    """Return the suffix that most of the pictures have, or None if there are no pictures.

    >>> usual_suffix(["a.jpg", "b.JPG", "c.png", "readme.txt"])
    '.jpg'
    """
    suffixes = (PurePosixPath(name).suffix.lower() for name in names)
    found = Counter(suffix for suffix in suffixes if suffix in SUFFIXES).most_common(1)
    return found[0][0] if found else None


def endings(names: Sequence[str]) -> list[str]:
    """Return how all names may end, the longest first: after a separator, and the suffix alone.

    >>> endings(["a/1_rgb.png", "a/2_rgb.png"])
    ['_rgb.png', '.png']
    """
    if not names:
        return []
    common = names[0]
    for name in names:
        while not name.endswith(common):
            common = common[1:]
    starts = [i for i, letter in enumerate(common) if letter in SEPARATORS]
    return [common[i:] for i in starts if "/" not in common[i:]]


def find_endings(images: Sequence[str], labels: Sequence[str]) -> tuple[str, str] | None:
    """Return the endings of images and labels with which most of them pair; None if none do.

    Names are relative to their folders; endings of names of another suffix do not count. Of several
    that are as good, the shortest: what else all names have in common says nothing of later ones.

    >>> find_endings(["a_rgb.jpg", "b_rgb.jpg"], ["a_mask.png", "b_mask.png", "c_mask.png"])
    ('_rgb.jpg', '_mask.png')
    """
    best, most = None, 0
    for image_ending in sorted(_candidates(images), key=len):
        stems = {n.removesuffix(image_ending) for n in images if n.endswith(image_ending)}
        for label_ending in sorted(_candidates(labels), key=len):
            own = {n.removesuffix(label_ending) for n in labels if n.endswith(label_ending)}
            if len(stems & own) > most:
                best, most = (image_ending, label_ending), len(stems & own)
    return best


def _candidates(names: Sequence[str]) -> list[str]:
    """Return the endings of the pictures of the usual suffix, also those of only some of them."""
    usual = usual_suffix(names)
    own = [name for name in names if usual and name.lower().endswith(usual)]
    last = Counter(last_part(name) for name in own)
    frequent = [ending for ending, count in last.most_common(8) if 2 * count >= len(own) ** 0.5]
    return list(dict.fromkeys([*endings(own), *frequent]))


def last_part(name: str) -> str:
    """Return what follows the last separator of the stem, with it.

    >>> last_part("a/x_01_mask.png"), last_part("a/x.png")
    ('_mask.png', '.png')
    """
    path = PurePosixPath(name)
    at = max(path.stem.rfind(letter) for letter in SEPARATORS)
    return path.name[at:] if at > 0 else path.suffix
