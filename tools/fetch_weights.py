"""Fetch the published weights that configs need, or that you name, into the folder `pretrained`.

Examples:
  python tools/fetch_weights.py configs/cdda/gta2cs_cdda_daformer
  python tools/fetch_weights.py mit_b5 open-mmlab://resnet101_v1c hf://owner/name
  python tools/fetch_weights.py configs/cdda/gta2cs_cdda_daformer --from usb --dry-run

Without names or configs, the command lists all weights that it knows, with their licenses. An
interrupted download goes on where it stopped. On a machine without a network, --from takes the
files from a folder, and says what is to be downloaded where. The exit status is 1 if something is
still missing.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.fetching import fetch_weights  # noqa: E402
from mmseg.cli.command import command, say  # noqa: E402
from mmseg.system.options import option  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Options:
    """The choices of the command line."""

    wanted: list[str] = option(
        default_factory=list,
        help="names of weights, hf://owner/name, or configs",
        positional=True,
        nargs="*",
        metavar="NAME_OR_CONFIG",
    )
    source: Path | None = option(
        None, "folder that has the files, instead of the network", names=("--from",), metavar="DIR"
    )
    dry_run: bool = option(False, "say what is there and what is missing, and fetch nothing")


@command(Options, __doc__)
def main(options: Options) -> int:
    """Run the command, and return its exit status."""
    return 0 if fetch_weights(options.wanted, options.source, options.dry_run, say=say) else 1


if __name__ == "__main__":
    sys.exit(main())
