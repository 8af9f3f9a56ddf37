"""Export a trained network for use without this program, as an ONNX file or a torch.export program.

python tools/export.py work_dirs/run --format onnx --out model.onnx

The file maps RGB images (N, 3, H, W) from 0 to 255 to the probabilities (N, C, H, W) of the
classes; their names and colors are in its metadata. Normalization is inside of it; resizing images
as the test pipeline does is left to you. Networks that predict in windows (slide mode, HRDA) are
exported for images of one size, the others for any size if they allow it. Before the file gets its
name, it is run on three inputs and compared with the network; the exit status is 1 if they differ.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.exporting.export import PIXELS, Wanted, export_network  # noqa: E402
from mmseg.apis.exporting.formats import FORMATS  # noqa: E402
from mmseg.cli.command import command  # noqa: E402
from mmseg.engine.checkpoint import NETWORKS  # noqa: E402
from mmseg.system.errors import ConfigError  # noqa: E402
from mmseg.system.options import TrustOptions, option  # noqa: E402
from mmseg.system.safe_loading import trusting_files  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Options(TrustOptions):
    """The choices of the command line."""

    checkpoint: Path = option(help="of a training, or the folder of a run", positional=True)
    format: Literal["onnx", "program"] = option(
        help="onnx, or program: for torch.export.load", choices=tuple(FORMATS)
    )
    out: Path = option(help="file to write", metavar="FILE")
    config: Path | None = option(None, "by default the one in or beside the checkpoint")
    size: list[Annotated[int, Field(ge=1)]] = option(
        default_factory=list, help="rows and columns of the only size of images", metavar="N"
    )
    eval_model: str = option("student", "the network to export", choices=NETWORKS)
    input: Literal["uint8", "float32"] = option(
        "uint8", "the type of the pixels", choices=tuple(PIXELS)
    )

    def __post_init__(self) -> None:
        """Refuse a size that is none."""
        if len(self.size) not in (0, 2):
            raise ConfigError(f"expected rows and columns as --size H W, got {self.size}.")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    size = (options.size[0], options.size[1]) if options.size else None
    source = (options.checkpoint, options.format, options.out, options.config, size)
    with trusting_files(options.trust_checkpoint):
        export_network(Wanted(*source, options.eval_model, options.input), say=print)


if __name__ == "__main__":
    main()
