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

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from mmseg.cli.command import command, say  # noqa: E402
from mmseg.cli.depth_maps import UNKNOWN, DepthOptions, depth_command  # noqa: E402


@command(DepthOptions, __doc__, **UNKNOWN)
def main(options: DepthOptions) -> None:
    """Run the command."""
    depth_command(options, say=say)


if __name__ == "__main__":
    main()
