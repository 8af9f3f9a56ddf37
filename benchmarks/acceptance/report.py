"""What came out, as JSON and as the section of RESULTS.md."""

import json
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from acceptance.bench import Bench
from acceptance.device import facts
from acceptance.loading import TABLE as LOADER
from acceptance.parts import DEPTH_NETWORK, METRIC, PREDICTION, PRODUCT
from acceptance.steps import COMPILED
from acceptance.steps import TABLE as STEPS
from mmseg.engine.environment import git_revision
from mmseg.system.files import atomic_write

Row = dict[str, Any]
SHOWN = 160  # characters of a detail


def head(device: torch.device) -> dict[str, Any]:
    """Return what is known before anything is computed."""
    return {
        "date": str(date.today()),
        "revision": git_revision(Path(__file__).parent),
        "dry_run": device.type == "cpu",
        "machine": facts(device),
    }


def content(bench: Bench) -> dict[str, Any]:
    """Return everything that is known, as plain values of JSON."""
    record = bench.record
    return {
        **bench.about,
        "checks": record.checks,
        "measurements": record.measurements,
        "left_out": record.left_out,
        "section_seconds": record.sections,
        "seconds": round(bench.clock.spent(), 1),
    }


def write_json(found: dict[str, Any], file: Path) -> None:
    """Write what `content` returned."""
    with atomic_write(file, "w") as target:
        target.write(json.dumps(found, indent=1) + "\n")


def section_name(found: dict[str, Any]) -> str:
    """Return the name of a device's section: each device has its own."""
    return f"gpu_acceptance {found['machine']['device']}"


def markdown(found: dict[str, Any]) -> str:
    """Return the section of RESULTS.md."""
    machine, failed = found["machine"], [c for c in found["checks"] if not c["holds"]]
    parts = [
        f"## GPU acceptance: {machine['device']}",
        _head(found),
        f"**{len(found['checks']) - len(failed)} of {len(found['checks'])} checks hold.**"
        + "".join(f"\n- FAILS: {c['claim']}: {_short(c['detail'])}" for c in failed),
    ]
    for title, name, columns in TABLES:
        rows = found["measurements"].get(name)
        if rows:
            parts += [f"### {title}", _table(rows, columns)]
    share = _cdda_share(found["measurements"].get(STEPS, []))
    parts += [f"What CDDA adds to a step: {share}."] if share else []
    if found["left_out"]:
        lines = [f"- {entry['name']}: {entry['reason']}" for entry in found["left_out"]]
        parts.append("Left out:\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _head(found: dict[str, Any]) -> str:
    """Name what computed."""
    m = found["machine"]
    computed = [m["device"], f"torch {m['torch']}", f"{m['cores']} CPU cores"]
    if "capability" in m:
        computed[1:1] = [
            f"{m['memory_gb']:.0f} GB",
            f"compute capability {m['capability']}",
            f"driver {m['driver']}",
        ]
    about = "A dry run on a CPU with tiny sizes, whose numbers say nothing. " * found["dry_run"]
    return (
        f"{about}`python benchmarks/gpu_acceptance.py`, {found['date']}, revision "
        f"{(found['revision'] or 'unknown')[:12]}, {', '.join(computed)}, {found['seconds']:.0f} s."
        " Random weights and images; the fastest of several runs. GB are 10⁹ bytes."
    )


def _short(text: str) -> str:
    """Return the last line of a text, shortened."""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    return last if len(last) <= SHOWN else f"{last[:SHOWN]}…"


def _seconds(row: Row) -> str:
    if row.get("fits") is False:
        return "did not fit"
    return f"{row['seconds']:.3g} s" if "seconds" in row else ""


def _number(key: str, unit: str, factor: float = 1.0, digits: int = 3) -> Callable[[Row], str]:
    """Return what writes a value, nothing where there is none."""

    def write(row: Row) -> str:
        value = row.get(key)
        return "" if value is None else f"{factor * value:.{digits}g}{unit}"

    return write


def _text(key: str) -> Callable[[Row], str]:
    return lambda row: "" if row.get(key) is None else str(row[key])


def _config(row: Row) -> str:
    return f"`{row['config']}`" + (" without CDDA" if row.get("cdda") is False else "")


def _table(rows: Iterable[Row], columns: dict[str, Callable[[Row], str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(write(row) for write in columns.values()) + " |" for row in rows]
    return "\n".join(lines)


def _cdda_share(rows: list[Row]) -> str:
    """Compare the steps with and without CDDA."""
    seconds = {(r["config"], r["mode"], r["cdda"]): r.get("seconds") for r in rows}
    found = []
    for (config, mode, has_cdda), whole in seconds.items():
        rest = seconds.get((config, mode, False))
        if has_cdda and whole and rest:
            found.append(f"`{config}` {mode} {whole / rest - 1:+.0%}")
    return ", ".join(found)


MEMORY = {"allocated": _number("allocated_gb", " GB"), "reserved": _number("reserved_gb", " GB")}
TABLES: tuple[tuple[str, str, dict[str, Callable[[Row], str]]], ...] = (
    (
        "Training steps",
        STEPS,
        {
            "config": _config,
            "precision": _text("mode"),
            "batch": _text("batch"),
            "step": _seconds,
            "queued after": _number("host_seconds", " s"),
            **MEMORY,
            "of the peak of matrix products": _number("share_of_peak", " %", 100, 2),
        },
    ),
    (
        "With compiled networks",
        COMPILED,
        {
            "config": _config,
            "precision": _text("mode"),
            "step": _seconds,
            "compiling": _number("compile_seconds", " s"),
            **MEMORY,
        },
    ),
    (
        "Matrix products",
        PRODUCT,
        {"precision": _text("mode"), "rate": _number("tflops", " TFLOP/s")},
    ),
    (
        "Prediction of one image",
        PREDICTION,
        {
            "config": _config,
            "image": _text("size"),
            "precision": _text("mode"),
            "windows per pass": _text("windows"),
            "time": _seconds,
            **MEMORY,
        },
    ),
    ("Depth metric of a step", METRIC, {"": _text("call"), "time": _number("seconds", " ms", 1e3)}),
    (
        "Loader",
        LOADER,
        {"workers": _text("workers"), "pairs/s": _number("samples_per_second", "")},
    ),
    (
        "Depth network",
        DEPTH_NETWORK,
        {
            "network": _text("network"),
            "image": _text("size"),
            "--amp": _text("amp"),
            "time of an image": _seconds,
            **MEMORY,
        },
    ),
)
