"""What the results of runs come from: their configs, and what `repro.json` records."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmseg.apis.comparison.page import Block, Heading, Lines, Paragraph, Table
from mmseg.apis.comparison.runs import Groups, Run
from mmseg.config.language.listing import differences, leaves
from mmseg.engine.provenance import REPRO

# What of `repro.json` says how a run was computed; seeds, commands and places are left out.
RECORDED = ("code", "versions", "processes", "devices", "threads_per_process", "deterministic")
HASHED = ("data", "files")
HASH = "sha256"
SHOWN_DIGITS = 12
NOT_RECORDED = "not recorded"
Facts = dict[str, str]


def config_blocks(groups: Groups, reference: str) -> Iterator[Block]:
    """Yield a section on how the config of each group differs from that of one of them."""
    yield Heading("What differs in the configs")
    if len(groups) == 1:
        yield Paragraph("All runs have one config, apart from the seed.")
        return
    yield Paragraph(
        f"A line with - is in {reference} only, one with + in the other only; a changed value has "
        "both. Seeds, names and work folders are left out."
    )
    first = _first(groups, reference)
    for name in groups:
        if name != reference:
            lines = list(differences(first.values, _first(groups, name).values))
            said = f"{len(lines)} line{'s' * (len(lines) != 1)}" if lines else "nothing"
            yield Lines(f"{name} against {reference}: {said}", lines or ["(equal)"])


def record_blocks(groups: Groups) -> Iterator[Block]:
    """Yield a section on versions and hashes: what differs, and what is the same everywhere."""
    yield Heading("Versions and hashes")
    facts = {name: [recorded(run.folder) for run in g.values()] for name, g in groups.items()}
    runs = [own for group in facts.values() for own in group]
    if not any(runs):
        yield Paragraph(f"No run has a {REPRO}, which would tell them.")
        return
    keys = list(dict.fromkeys(key for own in runs for key in own))
    values = {key: {name: _distinct(g, key) for name, g in facts.items()} for key in keys}
    same = {k: v for k, v in values.items() if len({own.get(k, NOT_RECORDED) for own in runs}) == 1}
    rows = [[key, *own.values()] for key, own in values.items() if key not in same]
    if rows:
        yield Table("Not the same in all runs", ["", *groups], rows, has_numbers=False)
    rows = [[key, next(iter(own.values()))] for key, own in same.items()]
    yield Table("The same in all runs", ["", "all runs"], rows, has_numbers=False)
    yield Paragraph(
        f"From {REPRO} of each run. Hashes are the first {SHOWN_DIGITS} digits of SHA-256: of a "
        "file's content, or of the names and sizes that a dataset's fingerprint covers."
    )


def recorded(folder: Path) -> Facts:
    """Return what `repro.json` in a work folder records of how a run was computed."""
    file = folder / REPRO
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {REPRO: "cannot be read"}
    if not isinstance(content, Mapping):
        return {REPRO: "cannot be read"}
    facts = {path: _shown(value) for path, value, _ in leaves(_chosen(content, RECORDED))}
    for path, value, _ in leaves(_chosen(content, HASHED)):
        name, _, last = path.rpartition(".")
        if last in (HASH, "missing"):
            facts[name] = str(value)[:SHOWN_DIGITS] if last == HASH else "missing"
    return facts


def processes_of(run: Run) -> int:
    """Return how many processes a run shared its batch between; one if nothing says it."""
    return int(recorded(run.folder).get("processes", 1))


def _chosen(content: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: content[key] for key in keys if key in content}


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _distinct(facts: list[Facts], key: str) -> str:
    """Return the values of a key in the runs of a group, each once."""
    return "; ".join(dict.fromkeys(own.get(key, NOT_RECORDED) for own in facts))


def _first(groups: Groups, name: str) -> Run:
    return next(iter(groups[name].values()))
