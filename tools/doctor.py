"""Look at everything that a run needs on this machine: what is there, and what brings the rest.

python tools/doctor.py configs/demo/cdda_daformer --json doctor.json

Without a config, the machine alone is looked at. A line of the report begins with ok, warning,
missing or broken; paste it into your question if you have one. The exit status is 0 if all is
there, 1 if something is missing or broken, and 2 for wrong options. tools/check_data.py also looks
into every file of the data.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.data_check.check import read_folders  # noqa: E402
from mmseg.apis.doctor import as_json, as_text, examine  # noqa: E402
from mmseg.apis.doctor.examination import read_config  # noqa: E402
from mmseg.cli.command import command, say  # noqa: E402
from mmseg.system.errors import ConfigError  # noqa: E402
from mmseg.system.files import write_json  # noqa: E402
from mmseg.system.options import CfgOptions, TrustOptions, option  # noqa: E402
from mmseg.system.outputs import check_output_file, is_json  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Options(CfgOptions, TrustOptions):
    """The choices of the command line."""

    config: str | None = option(None, "that you want to train", positional=True)
    json: str | None = option(None, "write everything there as JSON, too", metavar="FILE")

    def __post_init__(self) -> None:
        """Refuse values of a config without one."""
        if self.cfg_options and self.config is None:
            raise ConfigError("expected a config for --cfg-options, got none. Name it.")


@command(Options, __doc__)
def main(options: Options) -> int:
    """Run the command, and return its exit status."""
    if options.json is not None:
        check_output_file(options.json, _read(options), "--json", is_json("items", "status"))
    with trusting_files(options.trust_checkpoint):
        found = examine(options.config, options.cfg_options)
    say(as_text(found))
    if options.json is not None:
        write_json(options.json, as_json(found, options.config))
    return found.status


def _read(options: Options) -> list[str]:
    """Return the files and folders that the command reads; nothing of a config that is broken."""
    if options.config is None:
        return []
    try:
        cfg = read_config(options.config, options.cfg_options)
    except (OSError, ValueError, ImportError):  # which the report says
        return [options.config]
    return [str(cfg.filename), *map(str, read_folders(cfg))]


if __name__ == "__main__":
    sys.exit(main())
