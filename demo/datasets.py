"""Which images the demo datasets consist of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from demo.domains import CITYSCAPES, DOMAINS, GTA, SYNTHIA, Domain
from demo.rendering import Rendering, render
from demo.writers import write_cityscapes, write_file, write_gta, write_synthia

Size = tuple[int, int]
"""(width, height) in pixels."""

SIZES: dict[str, Size] = {"gta": (320, 180), "synthia": (320, 190), "cityscapes": (320, 160)}
"""Default sizes: a sixth of the real ones, in about their proportions."""

TEST_IMAGES = 6

SPLIT_START = {"train": 0, "val": 100_000, "test": 200_000}
"""First image number of a split, so that no two splits share a scene."""


DEPTH_RECORD = {
    "recipe": {
        "source": "drawn scenes",
        "quantity": "inverse",
        "scaling": "min-max per image to 0...255, truncated",
    },
    "details": {"program": "tools/make_demo_data.py"},
}
"""`depth.json`, which training looks for beside depth maps."""


@dataclass(frozen=True)
class Job:
    """One image to draw and the function that writes it."""

    domain: Domain
    index: int
    size: Size
    write: Callable[[Rendering], None]


def draw(job: Job, seed: int) -> None:
    """Draw and write one image, its label and its depth."""
    job.write(render(job.domain, job.index, job.size, seed))


def demo_jobs(
    out: Path, source_images: int, target_images: int, size: Size | None = None
) -> list[Job]:
    """List all images: GTA, half as many of SYNTHIA; Cityscapes, val half as large as train."""

    def jobs(domain: Domain, count: int, start: int, write: Callable[..., None]) -> list[Job]:
        shape = size or SIZES[domain.name]
        root = out / domain.name
        return [Job(domain, start + i, shape, partial(write, root, i)) for i in range(count)]

    listed = jobs(GTA, source_images, 0, write_gta)
    listed += jobs(SYNTHIA, source_images // 2, 0, write_synthia)
    counts = {"train": target_images, "val": target_images // 2, "test": TEST_IMAGES}
    for split, count in counts.items():
        listed += jobs(CITYSCAPES, count, SPLIT_START[split], partial(write_cityscapes, split))
    return listed


def claim_folder(out: Path, seed: int, size: Size | None) -> None:
    """Note seed and size in `out`; images of different settings must not come to lie in one folder.

    Raises:
        ValueError: `out` holds images drawn with other settings, or a dataset that was not drawn.
    """
    note = out / "settings.json"
    strangers = [] if note.is_file() else [name for name in DOMAINS if (out / name).exists()]
    if strangers:
        raise ValueError(
            f"expected a folder without datasets, got '{out}' with {', '.join(strangers)}, which "
            "this command did not draw. Choose another folder."
        )
    settings = {"seed": seed, "size": "x".join(map(str, size)) if size else "default"}
    if note.is_file() and (there := json.loads(note.read_text(encoding="utf-8"))) != settings:
        raise ValueError(
            f"expected the settings with which '{out}' was made, {there}, got {settings}; "
            "choose another folder with --out, or delete that one"
        )
    write_file(note, json.dumps(settings).encode())


def write_depth_records(out: Path) -> None:
    """Say beside the depth maps of all three datasets how they are made."""
    for name in DOMAINS:
        text = json.dumps(DEPTH_RECORD, indent=2) + "\n"
        write_file(out / name / "depth_any" / "depth.json", text.encode())
