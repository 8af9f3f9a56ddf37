r"""Make the depth maps of images: relative inverse depth, 0...255, near is bright.

Examples:
  python tools/make_depth.py data/gta/images --out data/gta/depth_any --model small
  python tools/make_depth.py data/cityscapes/leftImg8bit/train \
      --out data/cityscapes/depth_any/train --layout cityscapes --model small --preview
  torchrun --nproc_per_node 4 tools/make_depth.py data/gta/images --out data/gta/depth_any \
      --model pretrained/Depth-Anything-V2-Large-hf --amp
  python tools/make_depth.py disparity/train --out data/cityscapes/depth_any/train \
      --layout cityscapes --from-disparity

Maps that are there are kept: an interrupted run goes on when the same command is started again.
DIR/depth.json says how they were made; a folder takes maps of one kind only.
Exit status: 0 all maps are there, 1 an error or images without a map (named at the end), 75 stopped
by a signal.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from mmseg.cli.endings import one_sentence  # noqa: E402
from mmseg.preprocessing.depth_maps.jobs import LAYOUTS, PREVIEW_FILE  # noqa: E402
from mmseg.preprocessing.depth_maps.options import (  # noqa: E402
    Options,
    choose_device,
    usual_batch_size,
    usual_workers,
)
from mmseg.preprocessing.depth_maps.processes import (  # noqa: E402
    TIMEOUT_MINUTES,
    ends_with_the_others,
)
from mmseg.preprocessing.depth_maps.run import make_maps  # noqa: E402
from mmseg.preprocessing.depth_maps.scaling import QUANTITIES  # noqa: E402
from mmseg.preprocessing.depth_maps.summary import counted  # noqa: E402
from mmseg.system.launchers import LAUNCHERS  # noqa: E402
from mmseg.system.processes import init_from_environment, is_main  # noqa: E402


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's choices."""
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGES", help="folders (with all in them), files")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the maps")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model",
        metavar="PATH|NAME",
        help="small, base or large (Depth Anything V2: small is free for all uses, the others are "
        "non-commercial); a local folder; or any depth model of the hub",
    )
    source.add_argument(
        "--from-disparity",
        action="store_true",
        help="IMAGES are maps made elsewhere (npy, tiff, 8- or 16-bit png; in a 16-bit png 0 means "
        "not measured): convert them",
    )
    add(
        "--layout",
        choices=LAYOUTS,
        help="names of the maps. cityscapes: leftImg8bit becomes depth; gta, synthia: the image's; "
        "flat: all in one folder (default: cityscapes if the images are called so, else kept)",
    )
    add(
        "--quantity",
        choices=QUANTITIES,
        help="what the model or the files hold; metric depth is inverted (default: as the model's "
        "type is known to give; inverse for files)",
    )
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="images of one size that are computed together (default: on a GPU 8, on a CPU 1)",
    )
    add("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    add("--amp", action="store_true", help="compute in half precision: faster on a GPU")
    add(
        "--num-workers",
        type=int,
        metavar="N",
        help="processes that read images, and half as many that write maps; with --from-disparity "
        "those that convert; 0: none (default: as many as there are cores, at most 16; 1 where a "
        "CPU computes)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="make maps that are there again (an interrupted run goes on without this option)",
    )
    add(
        "--preview",
        nargs="?",
        type=Path,
        const=True,
        metavar="FILE",
        help=f"draw images, maps and bins side by side into a PNG (default: DIR/{PREVIEW_FILE})",
    )
    add("--launcher", default="none", choices=LAUNCHERS, help="slurm: started by srun")
    add("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def read_options(args: argparse.Namespace) -> Options:
    """Join the processes of the run and return its choices."""
    device = init_from_environment(args.launcher, args.local_rank, TIMEOUT_MINUTES)
    device = choose_device(args.device, device)
    batch_size, workers = args.batch_size, args.num_workers
    if batch_size is None:
        batch_size = usual_batch_size(device)
    if workers is None:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = usual_workers(None if args.from_disparity else device, processes)
    return Options(
        inputs=tuple(args.images),
        out=args.out,
        model=args.model,
        layout=args.layout,
        quantity=args.quantity,
        device=device,
        batch_size=batch_size,
        amp=args.amp,
        workers=workers,
        overwrite=args.overwrite,
        preview=args.out / PREVIEW_FILE if args.preview is True else args.preview,
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = parse_arguments(arguments)
    with ends_with_the_others("make_depth.py"):
        summary = make_maps(read_options(args), say=lambda line: print(line, flush=True))
        if summary.failures:
            count = counted(len(summary.failures), "file")
            sys.exit(f"make_depth.py: No map of {count}, see above." if is_main() else 1)


if __name__ == "__main__":
    with one_sentence("make_depth.py"):
        main()
