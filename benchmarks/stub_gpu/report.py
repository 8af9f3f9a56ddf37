"""Launches, waits and memory of training steps and pictures, on a GPU that computes nothing.

python benchmarks/stub_gpu/report.py cdda/gta2cs_cdda_daformer --amp bf16 --picture --sites 20

Steps have random weights and images, guidance, and a source crop for every target image, out of
as many as published. MiB are those of torch's memory: a GPU needs more, for CUDA's context (about
500) and the workspaces of convolutions.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

from mmseg.config import parse_options  # noqa: E402
from stub_gpu.build import StubUnavailableError  # noqa: E402
from stub_gpu.cases import Case, recomputing  # noqa: E402
from stub_gpu.child import measure  # noqa: E402

Rows = Sequence[tuple[Case, Mapping[str, Any]]]
HEAD = ("config", "", "launches", "fills and copies", "waits", "reads", "pageable copies")
HEAD += ("MB to the GPU", "peak MiB", "reserved MiB", "launches of parts")
SITE_HEAD = ("line of mmseg", "operator", "launches", "waits", "reads", "pageable copies")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print tables; exit status 2 where the runtime cannot be built."""
    options = parse_arguments(arguments)
    cases = list(cases_of(options))
    try:
        found = measure(cases, options.memory_gb)
    except StubUnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    rows = list(zip(cases, found, strict=True))
    print(steps_table(rows))
    for case, row in rows:
        if "sites" in row:
            print(f"\n{case.config}, {case.name}\n\n{sites_table(row['sites'])}")
    if options.json:
        content = [{**asdict(case), **row} for case, row in rows]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("configs", nargs="+", metavar="CONFIG", help="such as cdda/gta2cs_cdda_daformer")
    add("--amp", choices=("bf16", "fp16"), help="half precision")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="of the configs")
    add("--recompute", action="store_true", help="set the backbones' with_cp")
    add("--memory-gb", type=float, help="memory of the GPU (default: 85.5)")
    add("--batch", type=int, help="samples of a step (default: the config's)")
    add("--crops", type=int, help="source crops (default: as published)")
    add("--picture", action="store_true", help="also label a picture of 2048×1024 pixels")
    add("--sites", type=int, default=0, help="lines of code to list, those with most launches")
    add("--json", type=Path, metavar="FILE", help="write everything there, too")
    return parser.parse_args(arguments)


def cases_of(options: argparse.Namespace) -> Iterator[Case]:
    """Yield the step of each config, and its picture if asked for."""
    given = parse_options(options.cfg_options)
    for config in options.configs:
        switched = {**(recomputing(config) if options.recompute else {}), **given}
        numbers = {"batch": options.batch, "crops": options.crops, "sites": options.sites}
        case = Case(config, options.amp, switched, **numbers)
        yield case
        if options.picture:
            yield replace(case, is_picture=True)


def steps_table(rows: Rows) -> str:
    """Return a Markdown table with a line for each case."""
    return table(HEAD, [(case.config, case.name, *_cells(row)) for case, row in rows], left=2)


def sites_table(sites: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of lines of code."""
    keys = ("line", "operator", "launches", "waits", "reads", "pageable_copies")
    return table(SITE_HEAD, [tuple(str(site[key]) for key in keys) for site in sites], left=2)


def table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    """Return a Markdown table; the columns after the first `left` are numbers."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if not row.get("fits"):
        why = row.get("refused", "does not fit into memory")
        return (why, *[""] * (len(HEAD) - 3))
    numbers = (row["launches"], row["fills"] + row["device_copies"], row["waits"], row["reads"])
    memory = (row["peak_mib"], row["reserved_mib"])
    parts = ", ".join(f"{name} {launches}" for name, launches in row["parts"].items())
    return (
        *(f"{number:,}" for number in (*numbers, row["pageable_copies"])),
        f"{row['uploaded_bytes'] / 1e6:.1f}",
        *(f"{number:,}" for number in memory),
        parts,
    )


if __name__ == "__main__":
    sys.exit(main())
