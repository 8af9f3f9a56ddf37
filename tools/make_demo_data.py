"""Draw a small GTA, SYNTHIA and Cityscapes: procedural street scenes in the raw dataset formats.

    python tools/make_demo_data.py --out data/demo

writes OUT/gta, OUT/synthia and OUT/cityscapes. An image depends on the seed and its number only, so
running it again, or with larger counts, leaves what is there as it is.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.demo_data.datasets import Job, demo_jobs  # noqa: E402


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    """Parse the command line, draw, say where it went."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source-images", type=int, default=120, help="GTA; half for SYNTHIA")
    parser.add_argument("--target-images", type=int, default=80, help="train split; half for val")
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="of all images (default: 320x180, 320x190, 320x160)"
    )
    args = parser.parse_args()
    jobs: list[Job] = demo_jobs(args.out, args.source_images, args.target_images, args.size)
    for job in tqdm(jobs, unit="image"):
        job.run(args.seed)
    print(f"{len(jobs)} scenes in {args.out}: gta, synthia, cityscapes")


if __name__ == "__main__":
    main()
