"""Write train-id labels and class statistics of data/synthia.

`mmseg/datasets/synthia.py` says which label id is which class.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg.cli.converting import run_converter  # noqa: E402
from mmseg.preprocessing.label_conversion import convert_synthia  # noqa: E402

if __name__ == "__main__":
    run_converter(convert_synthia, "synthia", gt_dir="GT/LABELS")
