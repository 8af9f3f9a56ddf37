"""What is there and what is wrong, in words and as JSON."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmseg.apis.data_check.check import CheckedData
from mmseg.apis.data_check.findings import ERROR, WARNING, Finding
from mmseg.apis.data_check.scan import Scan

WIDTH = 100  # letters of a line
SHOWN_SIZES = 5
PERCENT = 100


def as_json(checked: CheckedData, config: str) -> dict[str, Any]:
    """Return everything as plain values.

    `{"config", "status", "errors", "warnings", "datasets": [{"where", "type", "images", …}],
    "findings": [{"level", "where", "kind", "count", "files", "sentence"}]}`; `files` are the first
    few, shares are between 0 and 1.
    """
    return {
        "config": config,
        "status": checked.status,
        "errors": _count(checked, ERROR),
        "warnings": _count(checked, WARNING),
        "datasets": [dataset_facts(scan) for scan in checked.scans.values()],
        "findings": [
            {
                "level": finding.level,
                "where": finding.where,
                "kind": finding.kind,
                "count": finding.count,
                "files": list(finding.files),
                "sentence": finding.sentence,
            }
            for finding in checked.findings
        ],
    }


def dataset_facts(scan: Scan) -> dict[str, Any]:
    """Return what is there of a dataset; `labels` and `depth_maps` count those that can be read."""
    part, dataset = scan.part, scan.part.dataset
    sizes = Counter(look.size for look in scan.looks if look.size)
    return {
        "where": part.name,
        "type": type(dataset).__name__,
        "folder": str(dataset.img_dir),
        "images": len(dataset),
        "sizes": {f"{w}x{h}": count for (h, w), count in sizes.most_common()},
        "reads_labels": part.reads_labels,
        "labels": len(scan.labeled),
        "reads_depth": dataset.dep_dir is not None,
        "depth_maps": sum(look.depth is not None for look in scan.looks),
        **(_class_facts(scan) if part.reads_labels else {}),
    }


def _class_facts(scan: Scan) -> dict[str, Any]:
    """Return the classes with their shares of the pixels that count, and the share of the rest."""
    counted, area = sum(scan.pixels.values()), sum(look.area for look in scan.looks)
    classes = [
        {
            "id": c,
            "name": name,
            "pixels": scan.pixels[c],
            "share": scan.pixels[c] / max(counted, 1),
            "images": sum(c in (look.pixels or {}) for look in scan.looks),
        }
        for c, name in enumerate(scan.part.dataset.CLASSES)
    ]
    return {"ignored": 1 - counted / area if area else 0.0, "classes": classes}


def as_text(checked: CheckedData) -> str:
    """Return everything for people: the datasets, then the findings."""
    lines = [line for scan in checked.scans.values() for line in _dataset_lines(scan)]
    for finding in checked.findings:
        lines += ["", *_finding_lines(finding)]
    errors, warnings = (_count(checked, level) for level in (ERROR, WARNING))
    end = f"{_number(errors, ERROR)} and {_number(warnings, WARNING)}."
    return "\n".join([*lines, "", end if checked.findings else "Nothing is wrong."])


def _dataset_lines(scan: Scan) -> Iterator[str]:
    facts = dataset_facts(scan)
    images = _number(facts["images"], "image")
    yield f"{facts['where']}: {images} of {facts['type']} in '{facts['folder']}'"
    sizes = [f"{size} ({count})" for size, count in facts["sizes"].items()]
    more = f", and {len(sizes) - SHOWN_SIZES} more" if len(sizes) > SHOWN_SIZES else ""
    yield f"  sizes: {', '.join(sizes[:SHOWN_SIZES]) or 'none'}{more}"
    if not facts["reads_labels"]:
        yield "  labels: not read"
    else:
        ignored = f"{PERCENT * facts['ignored']:.1f} % of the pixels are ignored"
        yield f"  labels: {facts['labels']}; {ignored}"
        shares = [f"{one['name']} {PERCENT * one['share']:.2f} %" for one in facts["classes"]]
        listed = textwrap.wrap(f"classes: {', '.join(shares)}", WIDTH)
        yield from textwrap.indent("\n".join(listed), "  ").splitlines()
    yield f"  depth maps: {facts['depth_maps'] if facts['reads_depth'] else 'not read'}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    count = f" ({finding.count})" if finding.count > 1 else ""
    yield f"{finding.level}: {finding.where}: {finding.kind}{count}"
    yield f"  {finding.sentence}"
    if len(finding.files) > 1:
        rest = finding.count - len(finding.files)
        yield f"  files: {', '.join(finding.files)}{f', and {rest} more' if rest > 0 else ''}"


def _count(checked: CheckedData, level: str) -> int:
    return sum(finding.level == level for finding in checked.findings)


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
