"""Show examples of a dataset side by side: image, label, predictions, depth.

python tools/contact_sheet.py configs/demo/cdda_daformer --preds CDDA=work_dirs/RUN/preds
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.datasets import build_dataset  # noqa: E402
from mmseg.system.errors import ConfigError, nearest  # noqa: E402
from mmseg.visualization.contact_sheet import contact_sheet  # noqa: E402
from mmseg.visualization.palettes import save_picture  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config")
    parser.add_argument(
        "--split", default="val", help="val, test, or a dotted path such as train.source"
    )
    parser.add_argument("--preds", nargs="*", default=[], metavar="[TITLE=]FOLDER")
    parser.add_argument("--num", type=int, default=4, help="rows, spread evenly over the split")
    parser.add_argument("--depth", action="store_true", help="add the depth maps of the config")
    parser.add_argument("--out", default="contact_sheet.png")
    args = parser.parse_args(arguments)
    with user_errors():
        section = load_config(args.config).data
        for part in args.split.split("."):
            if part not in section:
                raise ConfigError(
                    f"{args.config}: unknown part {part!r} in --split {args.split}"
                    f"{nearest(part, section)}"
                )
            section = section[part]
        dataset = build_dataset(section, test_mode=True)
        indices = range(0, len(dataset), max(1, len(dataset) // args.num))[: args.num]
        titled = [item.rpartition("=") for item in args.preds]
        predictions = {title or Path(folder).parent.name: folder for title, _, folder in titled}
        depth_dir = section.get("dep_dir") if args.depth else None
        save_picture(args.out, contact_sheet(dataset, indices, predictions, depth_dir))
    print(args.out)


if __name__ == "__main__":
    main()
