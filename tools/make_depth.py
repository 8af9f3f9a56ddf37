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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from mmseg.cli.endings import one_sentence  # noqa: E402
from mmseg.preprocessing.depth_maps.jobs import LAYOUTS, PREVIEW_FILE, counted  # noqa: E402
from mmseg.preprocessing.depth_maps.make_maps import Options, make_maps  # noqa: E402
from mmseg.preprocessing.depth_maps.scaling import QUANTITIES  # noqa: E402
from mmseg.system import processes  # noqa: E402
from mmseg.system.launchers import LAUNCHERS  # noqa: E402

TIMEOUT_MINUTES = 24 * 60.0  # the fastest process waits at the end for the slowest one
BATCH_SIZE = 8  # on a GPU; a CPU gains nothing, and takes seconds until a signal can end a batch
MAX_WORKERS = 16  # more than a GPU needs: each reads about 20 images of 2048x1024 in a second


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
        help="processes that read images, and half as many threads that write maps; with "
        "--from-disparity processes that convert; 0: none (default: as many as there are cores, "
        "at most 16; 1 where a CPU computes)",
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


def read_options(args: argparse.Namespace, device: torch.device) -> Options:
    """Return the choices of a run, `device` being that of this process; refuse impossible ones."""
    device = choose_device(args.device, device)
    batch_size, workers = args.batch_size, args.num_workers
    if batch_size is None:
        batch_size = 1 if device.type == "cpu" else BATCH_SIZE
    if workers is None:
        workers = usual_workers(None if args.from_disparity else device)
    for option, value, least in (("batch-size", batch_size, 1), ("num-workers", workers, 0)):
        if value < least:
            refuse(f"expected --{option} of at least {least}, got {value}.")
    if args.from_disparity and args.amp:
        refuse("expected --amp for a network only, got it with --from-disparity; leave it out.")
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


def choose_device(name: str | None, usual: torch.device) -> torch.device:
    """Return the device that a person named; None, and the type of the usual one, take that.

    So of several processes with `--device cuda` each takes its own GPU.
    """
    if name is None or name == usual.type:
        return usual
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        sys.exit(  # in each process: another one may have that device
            f"make_depth.py: expected a device such as cpu, cuda or cuda:1, got --device {name}: "
            f"{reason}; leave the option out for {usual}."
        )
    return device


def refuse(sentence: str) -> NoReturn:
    """End all processes, which come here together, with one sentence."""
    sys.exit(f"make_depth.py: {sentence}" if processes.is_main() else 1)


def usual_workers(device: torch.device | None) -> int:
    """Return how many processes read images, or convert maps (without a device).

    A CPU computes for seconds where reading takes 50 ms; its cores are for the network. The
    processes of a run on this machine share its cores.
    """
    if device is not None and device.type == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MAX_WORKERS, (cores or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@contextmanager
def ends_with_the_others() -> Iterator[None]:
    """Leave the processes of the run; if one of them is lost, end with a sentence."""
    try:
        yield
    except processes.ProcessGroupError:
        sys.stderr.write(
            f"make_depth.py: process {processes.rank()} of {processes.world_size()} has lost "
            "another one; look at what that one said, and start the same command again.\n"
        )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(1)  # sys.exit would wait for the lost one
    finally:
        processes.shut_down()


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = parse_arguments(arguments)
    with ends_with_the_others():
        own = processes.init_from_environment(args.launcher, args.local_rank, TIMEOUT_MINUTES)
        summary = make_maps(read_options(args, own), say=lambda line: print(line, flush=True))
        if summary.failures:
            count = counted(len(summary.failures), "file")
            refuse(f"No map of {count}, see above.")


if __name__ == "__main__":
    with one_sentence("make_depth.py"):
        main()
