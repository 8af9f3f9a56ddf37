"""Train a config with several seeds, and report how it compares with the published number.

python tools/reproduce.py configs/hrda/gtaHR2csHR_hrda --seeds 0 1 2

The runs are those of run_experiments.py --config CONFIG --seeds …: interrupted ones go on, and
finished ones are not repeated. DIR gets reproduction.html (one file), reproduction.md,
reproduction.json, and the pictures. See docs/comparing.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command, say  # noqa: E402
from mmseg.cli.reproducing import ReproduceOptions, reproduce_command  # noqa: E402


@command(ReproduceOptions, __doc__)
def main(options: ReproduceOptions) -> None:
    """Run the command."""
    reproduce_command(options, say=say)


if __name__ == "__main__":
    main()
