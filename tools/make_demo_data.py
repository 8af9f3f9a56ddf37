"""Draw a small GTA, SYNTHIA and Cityscapes: procedural street scenes in the raw dataset formats.

    python tools/make_demo_data.py --out data/demo

writes OUT/gta, OUT/synthia and OUT/cityscapes. An image depends only on the seed and its number:
running it again, even with larger counts, does not change existing images.
"""

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.datasets import claim_folder, demo_jobs, draw, write_depth_records  # noqa: E402
from mmseg.cli.command import command  # noqa: E402
from mmseg.datasets.loader import Mapped, each_item  # noqa: E402
from mmseg.system.errors import ConfigError  # noqa: E402
from mmseg.system.options import option  # noqa: E402


def size_of(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ValueError(f"expected WIDTHxHEIGHT such as 320x160, got {text!r}.")
    return int(width), int(height)


Count = Annotated[int, Field(ge=0)]
Size = Annotated[tuple[int, int], BeforeValidator(size_of)]


@dataclass(frozen=True)
class Options:
    """The choices of the command line."""

    out: Path = option(Path("data/demo"), "folder to write")
    seed: Count = option(0, "of all images")
    source_images: Count = option(120, "GTA; half for SYNTHIA")
    target_images: Count = option(80, "train split; half for val")
    size: Size | None = option(None, "of all images (320x180, 320x190, 320x160)", metavar="WxH")
    nproc: Annotated[int, Field(ge=1)] = option(os.cpu_count() or 1, "processes")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    try:
        claim_folder(options.out, options.seed, options.size)
    except ValueError as error:  # `demo` knows no errors of the package
        raise ConfigError(str(error)) from error
    write_depth_records(options.out)
    counts = options.source_images, options.target_images
    jobs = demo_jobs(options.out, *counts, options.size)
    task = Mapped(partial(draw, seed=options.seed), jobs)
    drawn = each_item(task, options.nproc if options.nproc > 1 else 0)
    for _ in tqdm(drawn, total=len(jobs), unit="image", disable=None):
        pass
    print(f"{len(jobs)} street scenes in {options.out}: gta, synthia, cityscapes")


if __name__ == "__main__":
    main()
