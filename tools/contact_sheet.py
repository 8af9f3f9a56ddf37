"""Show examples of a dataset side by side: image, label, predictions, depth.

python tools/contact_sheet.py configs/demo/cdda_daformer --preds CDDA=work_dirs/RUN/preds
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.datasets import build_dataset  # noqa: E402
from mmseg.system.errors import ConfigError, nearest  # noqa: E402
from mmseg.visualization.contact_sheet import contact_sheet  # noqa: E402
from mmseg.visualization.palettes import save_picture  # noqa: E402


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("config")
    parser.add_argument(
        "--split", default="val", help="val, test, or a dotted path such as train.source"
    )
    parser.add_argument("--preds", nargs="*", default=[], metavar="[TITLE=]FOLDER")
    parser.add_argument("--num", type=int, default=4, help="rows, spread evenly over the split")
    parser.add_argument("--depth", action="store_true", help="add the depth maps of the config")
    parser.add_argument("--out", default="contact_sheet.png")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = parse_arguments(arguments)
    with user_errors():
        draw(args)
    print(args.out)


def draw(args: argparse.Namespace) -> None:
    """Write the sheet."""
    dataset_cfg = load_config(args.config).data
    for part in args.split.split("."):
        if part not in dataset_cfg:
            hint = nearest(part, dataset_cfg)
            raise ConfigError(f"{args.config}: unknown part {part!r} in --split {args.split}{hint}")
        dataset_cfg = dataset_cfg[part]
    dataset = build_dataset(dataset_cfg, test_mode=True)
    step = max(1, len(dataset) // args.num)
    titled = [item.rpartition("=") for item in args.preds]
    sheet = contact_sheet(
        dataset,
        range(0, len(dataset), step)[: args.num],
        {title or Path(folder).parent.name: folder for title, _, folder in titled},
        dataset_cfg.get("dep_dir") if args.depth else None,
    )
    save_picture(args.out, sheet)


if __name__ == "__main__":
    main()
