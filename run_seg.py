r"""Draw the source crops that CDDA swaps in, and count how their classes lie in depth.

python run_seg.py --config configs/cdda/gta2cs_cdda_daformer --dataset_name gta \
    --source_preprocessed_path preprocessed/gta_daformer
"""

import os
from dataclasses import dataclass

from mmseg.apis.agreement import check_feature_distance
from mmseg.apis.checks import check_run
from mmseg.cli.command import command, say
from mmseg.config import load_config
from mmseg.preprocessing.choices import Options
from mmseg.preprocessing.preprocess import preprocess
from mmseg.system.options import CfgOptions, option
from mmseg.system.waiting import set_patience


@dataclass(frozen=True)
class SegOptions(Options, CfgOptions):
    """The choices of the command line."""

    config: str = option("configs/cdda/gta2cs_cdda_daformer", "the config to train afterwards")


@command(SegOptions, __doc__, workers=os.cpu_count() or 1)
def main(options: SegOptions) -> None:
    """Run the command."""
    cfg = load_config(options.config)
    cfg.merge_options(options.cfg_options)
    run = check_run(cfg)
    check_feature_distance(run)  # nobody should draw for hours what no training can use
    set_patience(run.max_wait)
    preprocess(cfg, options, say=say)


if __name__ == "__main__":
    main()
