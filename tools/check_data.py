"""Look at all data of a config before training: what is there, and what is wrong.

python tools/check_data.py configs/demo/cdda_daformer --json check.json --picture samples.png

Every image, label and depth map that training and evaluation read is opened once. Printed are, for
each dataset, the number and sizes of its images and the share of each class; then everything that
is wrong, with the files, and what to do about it. An error would end a training or an evaluation,
or spoil it; a warning is for you to judge. The exit status is 0 without errors, 1 with errors, and
2 for wrong options.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.data_check import CheckedData, as_json, as_text, check_data, draw_samples  # noqa: E402
from mmseg.apis.data_check.check import broken_config, read_folders  # noqa: E402
from mmseg.cli.command import command, say  # noqa: E402
from mmseg.cli.depth_maps import usual_workers  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.system.errors import ConfigError  # noqa: E402
from mmseg.system.files import write_json  # noqa: E402
from mmseg.system.options import ConfigOptions, TrustOptions, option  # noqa: E402
from mmseg.system.outputs import check_output_file, is_json, is_picture  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402
from mmseg.visualization.palettes import save_picture  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Options(ConfigOptions, TrustOptions):
    """The choices of the command line."""

    json: str | None = option(None, "write everything there as JSON, too", metavar="FILE")
    picture: str | None = option(
        None, "draw eight training samples there, as the network sees them", metavar="FILE"
    )
    workers: Annotated[int, Field(ge=0)] | None = option(
        None, "processes that read images, by default one for each core; 0: this one alone"
    )

    def __post_init__(self) -> None:
        """Refuse one file for both outputs."""
        if self.json is not None and self.json == self.picture:
            raise ConfigError(
                f"expected different files for --json and --picture, got {self.json!r} for both."
            )


@command(Options, __doc__)
def main(options: Options) -> int:
    """Run the command, and return its exit status."""
    try:
        cfg = load_config(options.config)
        cfg.merge_options(options.cfg_options)
        read = [*read_folders(cfg), str(cfg.filename)]
    except (OSError, ValueError, ImportError) as error:
        cfg, read, checked = None, [], CheckedData(findings=(broken_config(error),))
    for file, name, is_own in (
        (options.json, "--json", is_json("findings")),
        (options.picture, "--picture", is_picture),
    ):
        if file is not None:
            check_output_file(file, read, name, is_own)
    if cfg is not None:
        with trusting_files(options.trust_checkpoint):
            workers = usual_workers(None) if options.workers is None else options.workers
            checked = check_data(cfg, workers)
    say(as_text(checked))
    if options.json is not None:
        write_json(options.json, as_json(checked, options.config))
    if options.picture is not None:
        _draw(checked, options.picture)
    return checked.status


def _draw(checked: CheckedData, file: str) -> None:
    picture = draw_samples(checked)
    if picture is None:
        print(f"'{file}' is not drawn: there are no training samples without problems.")
    else:
        save_picture(file, picture)


if __name__ == "__main__":
    sys.exit(main())
