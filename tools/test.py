"""Evaluate a checkpoint, paint its predictions, or write files for a test server.

python tools/test.py CONFIG CHECKPOINT --eval mIoU --show-dir preds --opacity 1
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.test import TestOptions, run_test  # noqa: E402
from mmseg.cli.command import command  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


@command(TestOptions, __doc__)
def main(options: TestOptions) -> None:
    """Run the command."""
    with trusting_files(options.trust_checkpoint):
        run_test(options.with_usual_metric())


if __name__ == "__main__":
    main()
