"""Check the data of a config: read it, look at all files, and put the findings in order."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.apis.data_check.config_checks import CONFIG_CHECKS, Scanned
from mmseg.apis.data_check.dataset_checks import DATASET_CHECKS
from mmseg.apis.data_check.duplicates import duplicates
from mmseg.apis.data_check.findings import ERROR, KINDS, Finding
from mmseg.apis.data_check.parts import open_part, sections_of
from mmseg.apis.data_check.scan import Scan, scan
from mmseg.config import Config
from mmseg.config.run_config import ConfigParts, read_parts
from mmseg.system.errors import is_for_user
from mmseg.system.outputs import data_folders

READ_OF_UDA = ("matrix_path", "croped_images_path", "croped_labels_path")


@dataclass(frozen=True)
class CheckedData:
    """What is there, and what is wrong.

    Attributes:
        scans: of the datasets that can be opened, by the names of their sections.
        findings: errors and warnings, in the order of the parts and of `KINDS`.
        parts: of the config; None if it cannot be read.
    """

    scans: Mapping[str, Scan] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    parts: ConfigParts | None = None

    @property
    def status(self) -> int:
        """The exit status: 1 if a training would end or be spoiled, else 0."""
        return int(any(finding.level == ERROR for finding in self.findings))


def check_data(cfg: Config, workers: int = 0) -> CheckedData:
    """Look at all files that a config's training and evaluation read; nothing is written.

    `workers` is the number of processes that read images; 0 is this one.
    """
    try:
        parts = read_parts(cfg)
    except (OSError, ValueError) as error:
        return CheckedData(findings=(broken_config(error),))
    scans, found = {}, []
    for name, role, section in sections_of(parts):
        part, problems = open_part(name, role, section, parts)
        found += problems
        if part is not None:
            scans[name] = scan(part, workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of folders, which were said when they were opened
        found += _findings(Scanned(cfg, parts, scans), workers)
    wheres = ["config", *(name for name, *_ in sections_of(parts))]
    return CheckedData(scans, tuple(_ordered(found, wheres)), parts)


def broken_config(error: Exception) -> Finding:
    """Return what the error of a config says; a mistake of the program is raised again."""
    if not is_for_user(error):
        raise error
    return Finding("config", "config", str(error))


def read_folders(cfg: Config) -> list[Path]:
    """Return the files and folders that a check of a config reads."""
    try:
        parts = read_parts(cfg)
    except (OSError, ValueError):  # then it reads nothing
        return []
    named: list[Any] = [(parts.uda or {}).get(key) for key in READ_OF_UDA]
    folders = [folder for *_, section in sections_of(parts) for folder in data_folders(section)]
    return [*folders, *(Path(name) for name in named if isinstance(name, str))]


def _findings(scanned: Scanned, workers: int) -> Iterator[Finding]:
    for check in CONFIG_CHECKS:
        yield from check(scanned)
    for each in scanned.scans.values():
        for look in DATASET_CHECKS:
            yield from look(each)
    yield from duplicates(scanned.scans, workers)


def _ordered(found: list[Finding], wheres: list[str]) -> list[Finding]:
    """Return the findings by place and kind, without what is said of the config already."""
    said = [finding.sentence for finding in found if finding.where == "config"]
    own = [f for f in found if f.where == "config" or not any(f.sentence in one for one in said)]
    wheres = list(dict.fromkeys([*wheres, *(finding.where for finding in found)]))
    kinds = list(KINDS)
    return sorted(own, key=lambda f: (wheres.index(f.where), kinds.index(f.kind)))
