"""Look at images and labels of your own, and write configs that train on them.

Examples:
  python tools/new_dataset.py data/street data/photos --val data/test --out configs/mine
  python tools/new_dataset.py street.zip photos.zip --out configs/mine --classes classes.csv
  python tools/new_dataset.py data/street data/photos --out configs/try --model b0

SOURCE has images and labels (ids or colors), TARGET images; which folder holds what is found by
names and content, or said with options. The command says what it found, writes data.py,
source_only.py, daformer.py, mic.py and cdda.py with a comment on every choice, checks them, and
says which commands come next. See docs/own_data.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command, say  # noqa: E402
from mmseg.cli.new_dataset import NewDatasetOptions, new_dataset_command  # noqa: E402


@command(NewDatasetOptions, __doc__)
def main(options: NewDatasetOptions) -> None:
    """Run the command."""
    new_dataset_command(options, say=say)


if __name__ == "__main__":
    main()
