"""What the converters in `tools/convert_datasets` start."""

import argparse
from collections.abc import Callable
from typing import Any

from mmseg.cli.endings import one_sentence


def run_converter(convert: Callable[..., Any], name: str, gt_dir: str) -> None:
    """Read the command line of a converter and run it."""
    parser = argparse.ArgumentParser(description=convert.__doc__)
    parser.add_argument("root", nargs="?", default=f"data/{name}", help="folder of the dataset")
    parser.add_argument("--gt-dir", default=gt_dir, help="folder of labels below it (%(default)s)")
    parser.add_argument("-o", "--out-dir", help="where the statistics go (the dataset's folder)")
    parser.add_argument("--nproc", type=int, default=4, help="processes (%(default)s)")
    arguments = parser.parse_args()
    with one_sentence(parser.prog):
        convert(arguments.root, arguments.gt_dir, arguments.out_dir, arguments.nproc)
