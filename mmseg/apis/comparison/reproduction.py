"""The report of a reproduction: runs of one config beside what was published for it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmseg.apis.comparison.compare import curve_blocks, owned
from mmseg.apis.comparison.origins import processes_of, record_blocks, recorded
from mmseg.apis.comparison.page import Block, Heading, Lines, Page, Paragraph
from mmseg.apis.comparison.pseudo_labels import (
    accuracy_blocks,
    accuracy_panels,
    measure_runs,
)
from mmseg.apis.comparison.published import Published, changes
from mmseg.apis.comparison.runs import Group, check_outputs, read_run_folder
from mmseg.apis.comparison.tables import Columns, class_blocks, entries_of, run_blocks
from mmseg.apis.comparison.verdict import Verdict, judge, not_comparable
from mmseg.config import Config
from mmseg.system.errors import ConfigError
from mmseg.system.files import require_writable, write_json

STEM = "reproduction"
JSON = f"{STEM}.json"
MADE_BY = "tools/reproduce.py"


@dataclass(frozen=True)
class Reproduction:
    """What was run, and what it is held against.

    Attributes:
        name: of the config, without a seed.
        config: its path.
        folders: finished runs by seed.
        seeds: that were asked for.
        published: for this config, None if nothing is known.
        out: folder of the report.
        images: of the target, whose pseudo-labels are looked at.
    """

    name: str
    config: str
    folders: Mapping[int | None, Path]
    seeds: Sequence[int]
    published: Published | None
    out: Path
    images: int = 50


def write_reproduction(wanted: Reproduction) -> tuple[Verdict, list[Path]]:
    """Write the report as Markdown, HTML and JSON; return the verdict and the files."""
    group = {seed: read_run_folder(folder) for seed, folder in wanted.folders.items()}
    check_folder(wanted.out, [run.config for run in group.values()], wanted.folders.values())
    groups = {wanted.name: group}
    entries = entries_of(groups)
    differing = _changes(wanted.published, group)
    verdict = _verdict(wanted, group, entries.get(wanted.name), differing)
    measured = measure_runs(group, wanted.images)
    published = [wanted.published] if wanted.published else []
    panels = accuracy_panels(measured, wanted.name)
    page = Page(
        f"Reproduction of {wanted.config}",
        [
            *_verdict_blocks(wanted, verdict, differing),
            *run_blocks(groups),
            *class_blocks(Columns(entries, published)),
            *curve_blocks(groups, wanted.out, panels),
            *accuracy_blocks(measured),
            *record_blocks(groups),
        ],
    )
    written = page.write(wanted.out, STEM)
    content = {
        "made_by": MADE_BY,
        "config": wanted.config,
        "seeds": list(wanted.folders),
        "verdict": asdict(verdict),
        "changes": differing,
        "published": asdict(wanted.published) if wanted.published else None,
        "results": entries.get(wanted.name),
        "recorded": {run.folder.as_posix(): recorded(run.folder) for run in group.values()},
        "pseudo_labels": measured.as_json(),
    }
    file = wanted.out / JSON
    write_json(file, content, allow_nan=False)
    return verdict, [*written, file]


def check_folder(out: Path, configs: Iterable[Config], folders: Iterable[Path] = ()) -> None:
    """Raise `ConfigError` or `OSError` if a report cannot be written there, or not without harm.

    `configs` and `folders` are those of the runs, as far as there are any yet.
    """
    check_outputs(out, {**owned(STEM), JSON: _is_own}, configs, folders)
    require_writable(out)


def require_finished(wanted: Reproduction) -> None:
    """Raise `ConfigError` if there is no finished run to report on."""
    if not wanted.folders:
        seeds = " ".join(map(str, wanted.seeds))
        raise ConfigError(
            f"expected a finished run of {wanted.config} for a report, got none. Train with: "
            f"python {MADE_BY} {wanted.config} --seeds {seeds}"
        )


def _changes(published: Published | None, group: Group) -> list[str]:
    """Return what the runs compute in another way than the published config, each line once."""
    if published is None:
        return []
    lines = (changes(r.config, published, processes_of(r)) for r in group.values())
    return list(dict.fromkeys(line for found in lines for line in found))


def _verdict(
    wanted: Reproduction, group: Group, entry: Mapping[str, Any] | None, differing: Sequence[str]
) -> Verdict:
    """Return the verdict, or everything that stands against one."""
    early = [str(seed) for seed, run in group.items() if not run.is_finished]
    obstacles = {
        f"configs/published.json has no number for {wanted.config}.": wanted.published is None,
        "No run has been evaluated.": entry is None,
        "The runs do not compute what the number was published for; see below.": bool(differing),
        f"Not evaluated at the end: seed {', '.join(early)}.": bool(early) and entry is not None,
    }
    if reasons := [reason for reason, holds in obstacles.items() if holds]:
        return not_comparable(reasons)
    assert wanted.published is not None and entry is not None
    return judge(wanted.published, entry)


def _verdict_blocks(
    wanted: Reproduction, verdict: Verdict, differing: Sequence[str]
) -> Iterator[Block]:
    yield Heading(f"Verdict: {verdict.word}")
    yield Paragraph(verdict.why)
    if missing := [str(seed) for seed in dict.fromkeys(wanted.seeds) if seed not in wanted.folders]:
        yield Paragraph(f"Not finished, and left out: seed {', '.join(missing)}.")
    if differing:
        title = "What the runs compute in another way (- published config, + these runs)"
        yield Lines(title, differing)


def _is_own(file: Path) -> bool:
    """Tell whether a file is the JSON of an earlier report."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("made_by") == MADE_BY
