"""Show examples of a dataset side by side: image, label, predictions, depth.

python tools/contact_sheet.py configs/demo/cdda_daformer --preds CDDA=work_dirs/RUN/preds
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.config.run_config import read_parts  # noqa: E402
from mmseg.datasets import build_dataset  # noqa: E402
from mmseg.datasets.joint import plain
from mmseg.system.errors import ConfigError, nearest  # noqa: E402
from mmseg.system.options import option  # noqa: E402
from mmseg.system.outputs import check_output_file, data_folders, is_picture  # noqa: E402
from mmseg.visualization.contact_sheet import contact_sheet  # noqa: E402
from mmseg.visualization.palettes import save_picture  # noqa: E402


@dataclass(frozen=True)
class Options:
    """The choices of the command line."""

    config: str = option(help="path of the config, with or without .py", positional=True)
    split: str = option("val", "val, test, or a dotted path such as train.source")
    preds: list[str] = option(
        default_factory=list, help="label maps", metavar="[TITLE=]FOLDER", nargs="*"
    )
    num: Annotated[int, Field(ge=1)] = option(4, "rows, spread evenly over the split")
    depth: bool = option(False, "add the depth maps of the config")
    out: str = option("contact_sheet.png", "file to write")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    cfg = load_config(options.config)
    data = read_parts(cfg).data
    section: Any = {"train": data.train, "val": data.val, "test": data.test}
    for part in options.split.split("."):
        if isinstance(section, list | tuple) and part.isdecimal() and int(part) < len(section):
            section = plain(section[int(part)])
            continue
        if not isinstance(section, dict) or section.get(part) is None:
            raise ConfigError(
                f"{options.config}: unknown part {part!r} in --split {options.split}"
                f"{nearest(part, section or ())}"
            )
        section = section[part]
    if isinstance(section, list | tuple):
        raise ConfigError(
            f"expected one dataset for --split, got the {len(section)} of {options.split}. Choose "
            f"one: --split {options.split}.0, for example."
        )
    dataset = build_dataset(section, test_mode=True)
    folders = [folder for part in data.sections for folder in data_folders(part)]
    read = [*folders, str(cfg.filename), *_label_maps(dataset, options.preds)]
    check_output_file(options.out, read, "--out", is_picture)
    indices = range(0, len(dataset), max(1, len(dataset) // options.num))[: options.num]
    titled = [item.rpartition("=") for item in options.preds]
    predictions = {title or Path(folder).parent.name: folder for title, _, folder in titled}
    depth_dir = section.get("dep_dir") if options.depth else None
    save_picture(options.out, contact_sheet(dataset, indices, predictions, depth_dir))
    print(options.out)


def _label_maps(dataset: Any, preds: list[str]) -> list[Path]:
    """Return where `contact_sheet` looks for the label maps of the images."""
    folders = [Path(item.rpartition("=")[2]) for item in preds]
    names = [Path(info["filename"]).with_suffix(".png") for info in dataset.img_infos]
    places = [folder / name for folder in folders for name in names]
    return [*places, *(folder / name.name for folder in folders for name in names)]


if __name__ == "__main__":
    main()
