"""The tables of a report: which runs there are, and what they reach per class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmseg.apis.comparison.page import Block, Heading, Paragraph, Strong, Table
from mmseg.apis.comparison.published import Published
from mmseg.apis.comparison.runs import Groups, Run
from mmseg.apis.series.progress import best_of, evaluations
from mmseg.apis.series.report import ALONE, TITLES, mean_and_std, summary

ABSENT = "–"
NOTE = (
    "Percent: mean ± sample standard deviation (n − 1) over the seeds of a config; a single run "
    "has no deviation. “last” is after the last iteration, “best” where the mIoU of a run "
    "on its validation set was highest, so it is chosen with the labels that it is measured on. "
)
Entry = Mapping[str, Any]  # of `summary`


@dataclass(frozen=True)
class Columns:
    """What the tables per class compare.

    Attributes:
        entries: what `summary` says of each group.
        published: numbers to stand beside them.
        baseline: the group to which differences are given, None for no differences.
    """

    entries: Mapping[str, Entry]
    published: Sequence[Published] = field(default_factory=tuple)
    baseline: str | None = None


def entries_of(groups: Groups) -> dict[str, Entry]:
    """Return what `summary` says of the groups that have been evaluated."""
    folders = {name: {s: run.folder for s, run in group.items()} for name, group in groups.items()}
    return {entry["name"]: entry for entry in summary(folders)["configs"]}


def run_blocks(groups: Groups) -> Iterator[Block]:
    """Yield a section on the runs: where they lie, how far they are, their mIoU."""
    yield Heading("Runs")
    head = ["config", "seed", "evaluated at", "mIoU last", "mIoU best", "best at", "folder"]
    rows = [[name, *_run_row(run)] for name, group in groups.items() for run in group.values()]
    yield Table(f"{len(rows)} run{'s' * (len(rows) > 1)}", head, rows, has_numbers=False)
    runs = [run for group in groups.values() for run in group.values()]
    if early := [run for run in runs if not run.is_finished and run.last is not None]:
        yield Paragraph(
            f"Not finished: {_folders(early)}. “last” is their last evaluation so far, so they "
            "cannot be compared with finished ones."
        )
    if none := [run for run in runs if run.last is None]:
        yield Paragraph(f"Not evaluated, and left out of the tables: {_folders(none)}.")


def class_blocks(columns: Columns) -> Iterator[Block]:
    """Yield a section with a table per class for the last and one for the best iteration."""
    yield Heading("IoU per class")
    if not columns.entries:
        yield Paragraph("No run has been evaluated yet.")
        return
    bold = "The best value of a row is bold. " if len(columns.entries) > 1 else ""
    signs = f"In brackets: the difference to {columns.baseline}. " if columns.baseline else ""
    yield Paragraph(NOTE + bold + signs)
    for title in TITLES:
        yield class_table(title, columns)
    for one in columns.published:
        yield Paragraph(f"Published in {one.paper}, for {one.config}: {one.protocol}.")


def class_table(title: str, columns: Columns) -> Table:
    """Return the table of the 'last' or the 'best' iteration: means first, then the classes."""
    own = {name: _values(entry[title]) for name, entry in columns.entries.items()}
    names = list(dict.fromkeys(name for values in own.values() for name in values))
    names.sort(key=lambda name: not name.startswith("mIoU"))
    published = [one for one in columns.published if one.iteration == title]
    head = [title, *own, *(f"published: {one.paper}" for one in published)]
    rows = []
    for name in names:
        cells = [values.get(name) for values in own.values()]
        base = own[columns.baseline].get(name) if columns.baseline else None
        shown = [_shown(cell, base, column == columns.baseline)
                 for column, cell in zip(own, cells, strict=True)]  # fmt: skip
        printed = [_published(one, name) for one in published]
        rows.append([name, *_with_best(shown, cells), *printed])
    return Table(f"The {title} iteration", head, rows)


def _values(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {**results["means"], **results["per_class"]}


def _shown(value: Any, base: Any, is_baseline: bool) -> str:
    """Return the text of a cell, with the difference to the baseline."""
    if value is None:
        return ABSENT
    text = mean_and_std(value).removesuffix(ALONE)
    if is_baseline or base is None or None in (value["mean"], base["mean"]):
        return text
    return f"{text} ({100 * (value['mean'] - base['mean']):+.2f})"


def _with_best(shown: Sequence[str], values: Sequence[Any]) -> list[str]:
    """Return the cells of a row with the highest ones in bold, if there are several."""
    means = [v["mean"] for v in values if v is not None and v["mean"] is not None]
    if len(means) < 2:
        return list(shown)
    best = max(means)
    return [Strong(text) if v is not None and v["mean"] == best else text
            for text, v in zip(shown, values, strict=True)]  # fmt: skip


def _published(published: Published, name: str) -> str:
    value = {**published.iou, **published.means}.get(name)
    return ABSENT if value is None else str(value)


def _run_row(run: Run) -> list[str]:
    found, where = evaluations(run.folder), run.folder.as_posix()
    if not found:
        return [str(run.seed), f"never, of {run.max_iters}", ABSENT, ABSENT, ABSENT, where]
    best = best_of(found)
    scores = [percent_text(found[key].get("mIoU")) for key in (max(found), best)]
    return [str(run.seed), f"{max(found)} of {run.max_iters}", *scores, str(best), where]


def percent_text(fraction: float | None) -> str:
    """Return a fraction in percent, as cells show it."""
    return ABSENT if fraction is None else f"{100 * fraction:.2f}"


def _folders(runs: Sequence[Run]) -> str:
    return ", ".join(run.folder.as_posix() for run in runs)
