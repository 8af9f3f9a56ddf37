"""Draw the source crops that CDDA swaps in, and count how their classes lie in depth.

python run_seg.py --config configs/cdda/gta2cs_cdda_daformer --dataset_name gta \
    --source_preprocessed_path preprocessed/gta_daformer
"""

import argparse
import os
from pathlib import Path

from mmseg.cli.endings import one_sentence
from mmseg.config import load_config, parse_options
from mmseg.preprocessing.preprocess import Options, preprocess


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description="Draw source crops and count their bank.")
    parser.add_argument("--config", default="configs/cdda/gta2cs_cdda_daformer")
    parser.add_argument("--dataset_name", default="gta", help="gta, synthia, or any with --num")
    folder = {"type": Path, "default": Path("preprocessed/gta_daformer"), "dest": "folder"}
    parser.add_argument("--source_preprocessed_path", metavar="FOLDER", **folder)
    no = {"action": "store_false"}
    parser.add_argument(
        "--not_get_images", dest="draws_crops", help="reuse the crops on disk", **no
    )
    parser.add_argument(
        "--not_get_distributions", dest="counts_bank", help="write no statistics", **no
    )
    parser.add_argument("--num", type=int, help="crops to draw (gta 24966, synthia 9400)")
    parser.add_argument("--num-workers", dest="workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    values = vars(parse_arguments(arguments))
    cfg = load_config(values.pop("config"))
    cfg.merge_options(parse_options(values.pop("cfg_options")))
    preprocess(cfg, Options(**values), say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    with one_sentence("run_seg.py"):
        main()
