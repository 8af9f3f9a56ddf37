"""Reduce a training checkpoint to one network's weights, in half precision, for sharing.

Examples:
  python tools/publish_checkpoint.py work_dirs/run/latest.pth pretrained/my_model.pth
  python tools/publish_checkpoint.py work_dirs/run/latest.pth my_model/my_model.safetensors
  python tools/publish_checkpoint.py work_dirs/run/latest.pth my_model/my_model.safetensors \
         --license cc-by-nc-4.0 --hub owner/my_model

With the suffix .safetensors, a model card (README.md), the config (config.py), and the record of
the run (repro.json) lie beside the file. They name no folders of this machine.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.publishing import PublishOptions, publish  # noqa: E402
from mmseg.cli.command import command, say  # noqa: E402


@command(PublishOptions, __doc__)
def main(options: PublishOptions) -> None:
    """Run the command."""
    publish(options, say=say)


if __name__ == "__main__":
    main()
