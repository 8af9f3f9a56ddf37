"""Draw the source crops that CDDA swaps in, and count how their classes lie in depth.

python run_seg.py --config configs/cdda/gta2cs_cdda_daformer --dataset_name gta \
    --source_preprocessed_path preprocessed/gta_daformer
"""

import argparse
import os
from pathlib import Path

from mmseg.cli.endings import one_sentence
from mmseg.config import load_config, parse_options
from mmseg.preprocessing.run import Options, preprocess


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description="Draw source crops and count their bank.")
    parser.add_argument("--config", default="configs/cdda/gta2cs_cdda_daformer")
    parser.add_argument("--dataset_name", default="gta", help="gta, synthia, or any with --num")
    parser.add_argument("--source_preprocessed_path", default="preprocessed/gta_daformer")
    parser.add_argument("--not_get_images", action="store_true", help="reuse the crops on disk")
    parser.add_argument("--not_get_distributions", action="store_true", help="write no statistics")
    parser.add_argument("--num", type=int, help="crops to draw (gta 24966, synthia 9400)")
    parser.add_argument("--num-workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = parse_arguments(arguments)
    cfg = load_config(args.config)
    cfg.merge_options(parse_options(args.cfg_options))
    options = Options(
        dataset_name=args.dataset_name,
        folder=Path(args.source_preprocessed_path),
        num=args.num,
        workers=args.num_workers,
        seed=args.seed,
        draws_crops=not args.not_get_images,
        counts_bank=not args.not_get_distributions,
    )
    preprocess(cfg, options, say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    with one_sentence("run_seg.py"):
        main()
