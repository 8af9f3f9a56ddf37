"""Draw a small GTA, SYNTHIA and Cityscapes: procedural street scenes in the raw dataset formats.

    python tools/make_demo_data.py --out data/demo

writes OUT/gta, OUT/synthia and OUT/cityscapes. An image depends only on the seed and its number:
running it again, even with larger counts, does not change existing images.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.datasets import claim_folder, demo_jobs, draw, write_depth_records  # noqa: E402


def size_of(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 320x160, got {text!r}")
    return int(width), int(height)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source-images", type=int, default=120, help="GTA; half for SYNTHIA")
    parser.add_argument("--target-images", type=int, default=80, help="train split; half for val")
    parser.add_argument(
        "--size", type=size_of, metavar="WxH", help="of all images (320x180, 320x190, 320x160)"
    )
    parser.add_argument("--nproc", type=int, default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args(arguments)
    try:
        claim_folder(args.out, args.seed, args.size)
    except ValueError as error:
        parser.error(str(error))
    write_depth_records(args.out)
    jobs = demo_jobs(args.out, args.source_images, args.target_images, args.size)
    with ProcessPoolExecutor(args.nproc) as pool:
        done = pool.map(draw, jobs, [args.seed] * len(jobs), chunksize=4)
        for _ in tqdm(done, total=len(jobs), unit="image", disable=None):
            pass
    print(f"{len(jobs)} street scenes in {args.out}: gta, synthia, cityscapes")


if __name__ == "__main__":
    main()
