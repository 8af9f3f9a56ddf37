"""What the converters in `tools/convert_datasets` start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from mmseg.cli.command import command
from mmseg.system.options import option


@dataclass(frozen=True)
class ConvertOptions:
    """The choices of a conversion; each converter has defaults of its own."""

    root: str = option(help="folder of the dataset", positional=True)
    gt_dir: str = option(help="folder of labels below it")
    out_dir: str | None = option(
        None, "where the statistics go (the dataset's folder)", names=("-o", "--out-dir")
    )
    nproc: Annotated[int, Field(ge=1)] = option(4, "processes")


def run_converter(convert: Callable[..., Any], name: str, gt_dir: str) -> None:
    """Read the command line of a converter and run it."""
    doc = f"{convert.__doc__}\n\npython tools/convert_datasets/{name}.py data/{name} --nproc 8"

    @command(ConvertOptions, doc, root=f"data/{name}", gt_dir=gt_dir)
    def main(options: ConvertOptions) -> None:
        convert(options.root, options.gt_dir, options.out_dir, options.nproc)

    main()
