"""Compare runs: tables per class, curves, what differs, pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmseg.apis.comparison import pictures
from mmseg.apis.comparison.origins import config_blocks, processes_of, record_blocks
from mmseg.apis.comparison.page import Block, Heading, Page, Paragraph, Picture, is_report
from mmseg.apis.comparison.published import Published, published_like
from mmseg.apis.comparison.runs import Groups, check_outputs, find_runs, grouped
from mmseg.apis.comparison.tables import Columns, class_blocks, entries_of, run_blocks
from mmseg.system.errors import ConfigError, nearest
from mmseg.system.files import require_writable
from mmseg.system.outputs import is_picture
from mmseg.visualization.compared_curves import Panels, log_panels, plot_panels
from mmseg.visualization.curves import read_curves

STEM = "compare"
CURVES = "curves.png"


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where the report goes.

    Attributes:
        places: folders of runs, or folders with such.
        out: folder of the report.
        baseline: the group to which differences are given.
        images: how many predictions are shown of each group.
    """

    places: Sequence[str | Path]
    out: Path
    baseline: str | None = None
    images: int = 4


def compare_runs(wanted: Comparison) -> list[Path]:
    """Write the report, and return its files: Markdown, HTML, and its pictures.

    `ConfigError` for places without runs, an unknown baseline, or a folder with other files.
    """
    runs = find_runs(wanted.places)
    configs, folders = [run.config for run in runs], [run.folder for run in runs]
    check_outputs(wanted.out, owned(STEM), configs, folders)
    groups = grouped(runs)
    if wanted.baseline is not None:
        _check_baseline(wanted.baseline, groups)
    require_writable(wanted.out)
    entries = entries_of(groups)
    columns = Columns(entries, _published(groups), wanted.baseline)
    reference = wanted.baseline or next(iter(groups))
    page = Page(
        "Comparison of runs",
        [
            *run_blocks(groups),
            *class_blocks(columns),
            *curve_blocks(groups, wanted.out),
            *pictures.picture_blocks(groups, wanted.out, wanted.images),
            *config_blocks(groups, reference),
            *record_blocks(groups),
        ],
    )
    shown = [wanted.out / b.file for b in page.blocks if isinstance(b, Picture)]
    return [*page.write(wanted.out, STEM), *shown]


def owned(stem: str) -> dict[str, Callable[[Path], bool]]:
    """Return the files of a report, each with what tells whether it may be replaced."""
    texts = {f"{stem}{suffix}": is_report for suffix in (".md", ".html")}
    return {**texts, CURVES: is_picture, pictures.FILE: is_picture}


def curve_blocks(groups: Groups, folder: Path, more: Panels | None = None) -> Iterator[Block]:
    """Draw the curves of all runs, and `more` panels, into a folder; yield their section."""
    yield Heading("Curves")
    logs = {name: [read_curves(run.folder) for run in g.values()] for name, g in groups.items()}
    panels = {**log_panels(logs), **(more or {})}
    if not panels:
        yield Paragraph("The logs hold neither losses nor mIoU yet.")
        return
    plot_panels(panels, folder / CURVES)
    yield Picture("Each line is a run, each color a config", CURVES)


def _published(groups: Groups) -> list[Published]:
    """Return what was published for configs that compute the same as a group."""
    firsts = [next(iter(group.values())) for group in groups.values()]
    found = [one for run in firsts if (one := published_like(run.config, processes_of(run)))]
    return list({one.config: one for one in found}.values())


def _check_baseline(name: str, groups: Groups) -> None:
    if name not in groups:
        raise ConfigError(
            f"expected --baseline with the name of a config that was run, got {name!r}"
            f"{nearest(name, groups)}"
        )
