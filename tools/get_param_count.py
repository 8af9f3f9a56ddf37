"""Count the parameters and operations of a config's network, part by part.

python tools/get_param_count.py configs/demo/cdda_hrda --size 256 512 --json cost.json

Operations are those of one forward pass of one window, as model.test_cfg says, and of all windows
of a test image: by default of the size that the config's test pipeline makes. No data, no weights
and no GPU are needed.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.network_cost import as_json, as_text, network_cost  # noqa: E402
from mmseg.cli.command import command  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.system.errors import ConfigError  # noqa: E402
from mmseg.system.files import write_json  # noqa: E402
from mmseg.system.options import ConfigOptions, option  # noqa: E402
from mmseg.system.outputs import check_output_file, is_json  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Options(ConfigOptions):
    """The choices of the command line."""

    image_size: list[Annotated[int, Field(ge=1)]] = option(
        default_factory=list,
        help="of the test image: HEIGHT WIDTH",
        names=("--size",),
        metavar="PIXELS",
    )
    json: str | None = option(None, "write everything there as JSON, too", metavar="FILE")

    def __post_init__(self) -> None:
        """Refuse sizes of other than two numbers."""
        if len(self.image_size) not in (0, 2):
            count = len(self.image_size)
            raise ConfigError(f"--size: expected HEIGHT WIDTH, got {count} number(s).")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    cfg = load_config(options.config)
    cfg.merge_options(options.cfg_options)
    if options.json is not None:
        check_output_file(options.json, [str(cfg.filename)], "--json", is_json("window_flops"))
    cost = network_cost(cfg, options.image_size or None)
    print(as_text(cost))
    if options.json is not None:
        write_json(options.json, as_json(cost, options.config))


if __name__ == "__main__":
    main()
