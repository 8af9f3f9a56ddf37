r"""Label images of your own with a trained network.

Examples:
  python tools/predict.py photos --checkpoint work_dirs/RUN --out labeled
  python tools/predict.py a.jpg 'trip/**/*.png' street.zip --checkpoint RUN/latest.pth \
      --out labeled --save ids color npz
  python tools/predict.py photos --checkpoint mine.pth --config configs/mine/cdda --out labeled \
      --labels photo_labels

INPUT is an image, a folder, a pattern, an archive, or a folder in one (street.zip!/images). The
config is the one inside of the checkpoint or beside it, else that of --config. OUT/<kind>/ gets a
PNG per image: `ids` (train ids), `color`, `overlay`, `probability` (of the class of each pixel,
times 255), and `npz` (ids, probabilities of all classes, names of the classes). The exit status is
1 if an image cannot be read; the others are labeled. See docs/predict.md.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.predicting.inputs import find_inputs  # noqa: E402
from mmseg.apis.predicting.loading import config_of  # noqa: E402
from mmseg.apis.predicting.predict import WRITERS, Labels, Outputs, Predicted, predict_images  # noqa: E402
from mmseg.apis.predicting.segmenter import Segmenter  # noqa: E402
from mmseg.cli.command import command, say  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.engine.checkpoint import NETWORKS  # noqa: E402
from mmseg.system.errors import ConfigError, nearest  # noqa: E402
from mmseg.system.options import CfgOptions, TrustOptions, option  # noqa: E402
from mmseg.system.outputs import check_output_folder  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402

USUAL = ["ids", "color", "overlay"]
SHOWN = 5  # images that could not be read


@dataclass(frozen=True, kw_only=True)
class Options(CfgOptions, TrustOptions):
    """The choices of the command line."""

    inputs: list[str] = option(help="images", positional=True, metavar="INPUT")
    checkpoint: str = option(help="the folder of a run, or a file of weights")
    out: str = option(help="folder to write to")
    save: list[str] = option(
        default_factory=lambda: list(USUAL),
        help=f"what to write: {', '.join(WRITERS)} (default: {','.join(USUAL)})",
        metavar="KIND",
    )
    config: str | None = option(None, "path of the config, if the checkpoint has none")
    model: str = option(
        "student", "the network of the checkpoint", choices=NETWORKS, also=("--eval-model",)
    )
    max_side: Annotated[int, Field(ge=1)] | None = option(
        None, "look at so many pixels of an image's longer side, for less memory"
    )
    aug_test: bool = option(False, "average over six sizes, each also mirrored")
    labels: str | None = option(None, "folder of the images' labels (train ids): also the IoU")
    device: str | None = option(None, "cpu, cuda, cuda:1, …; by default a GPU if there is one")

    @property
    def kinds(self) -> list[str]:
        """What to write; commas separate kinds, too. `ConfigError` for a kind that is none."""
        kinds = [kind for word in self.save for kind in word.split(",") if kind]
        for kind in kinds or [""]:
            if kind not in WRITERS:
                raise ConfigError(
                    f"expected --save with {', '.join(WRITERS)}, got {kind!r}"
                    f"{nearest(kind, WRITERS)}"
                )
        return list(dict.fromkeys(kinds))


@command(Options, __doc__)
def main(options: Options) -> int:
    """Run the command, and return its exit status."""
    kinds = options.kinds
    images = find_inputs(options.inputs)
    folders = [word for word in options.inputs if Path(word).is_dir()]
    check_output_folder(options.out, [*folders, *([options.labels] if options.labels else [])])
    outputs = Outputs(Path(options.out), kinds, images)
    config = None if options.config is None else load_config(options.config)
    with trusting_files(options.trust_checkpoint):
        if options.cfg_options:
            config = config or config_of(options.checkpoint)
            config.merge_options(options.cfg_options)
        choices = (options.model, options.max_side, options.aug_test)
        segmenter = Segmenter(options.checkpoint, config, options.device, *choices)
    labels = None
    if options.labels is not None:
        labels = Labels(Path(options.labels), images, segmenter.classes)
    result = predict_images(segmenter, images, outputs, labels)
    _report(result, options)
    return 1 if result.failed else 0


def _report(result: Predicted, options: Options) -> None:
    """Say what there is now, and what could not be done."""
    for table in result.tables:
        say(table)
    if result.record is not None:
        say(f"Metrics of {result.record['num_images']} images: {options.out}/results.json")
    say(f"{result.done} images labeled: {options.out}/{{{','.join(options.kinds)}}}")
    for name, reason in list(result.failed.items())[:SHOWN]:
        say(f"Not labeled: {name}: {reason}")
    if len(result.failed) > SHOWN:
        say(f"… and {len(result.failed) - SHOWN} more images are not labeled.")


if __name__ == "__main__":
    sys.exit(main())
