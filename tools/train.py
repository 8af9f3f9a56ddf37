"""Train the model of a config.

python tools/train.py configs/demo/cdda_daformer --work-dir work_dirs/try --seed 1
python tools/train.py configs/cdda/gta2cs_cdda_daformer --work-dir work_dirs/a --fit 8GB
python tools/train.py configs/cdda/gta2cs_cdda_daformer --work-dir work_dirs/a --amp bf16 --compile
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command  # noqa: E402
from mmseg.cli.training import ConfigRunOptions, train_command  # noqa: E402

main = command(ConfigRunOptions, __doc__)(train_command)

if __name__ == "__main__":
    main()
