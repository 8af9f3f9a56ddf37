"""The report: plain values for JSON, and the section of RESULTS.md."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

import torch

from acceptance.bench import Bench
from acceptance.device import describe_machine
from acceptance.loading import TABLE as LOADER
from acceptance.parts import DEPTH_NETWORK, METRIC, PREDICTION, PRODUCT
from acceptance.steps import SWITCHED
from acceptance.steps import TABLE as STEPS
from mmseg.engine.provenance import git_revision

Row = dict[str, Any]
SHOWN = 160  # characters of a detail


def head(device: torch.device) -> dict[str, Any]:
    """Return what is known before the first section."""
    return {
        "date": str(date.today()),
        "revision": git_revision(),
        "dry_run": device.type == "cpu",
        "machine": describe_machine(device),
    }


def content(bench: Bench) -> dict[str, Any]:
    """Return the whole report as plain values for JSON."""
    record = bench.record
    return {
        **bench.about,
        "checks": record.checks,
        "measurements": record.measurements,
        "left_out": record.left_out,
        "section_seconds": record.sections,
        "seconds": round(bench.clock.spent(), 1),
    }


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
    m = found["machine"]
    computed = [m["device"], f"torch {m['torch']}", f"{m['cores']} CPU cores"]
    if "capability" in m:
        computed[1:1] = [
            f"{m['memory_gb']:.0f} GB",
            f"compute capability {m['capability']}",
            f"driver {m['driver']}",
        ]
    about = "A dry run on a CPU with tiny sizes, whose numbers mean nothing. " * found["dry_run"]
    return (
        f"{about}`python benchmarks/gpu_acceptance.py`, {found['date']}, revision "
        f"{(found['revision'] or 'unknown')[:12]}, {', '.join(computed)}, {found['seconds']:.0f} s."
        " Random weights and images; the fastest of several runs. GB are 10⁹ bytes."
    )


def _short(text: str) -> str:
    """Return the last line of a text, shortened."""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    return last if len(last) <= SHOWN else f"{last[:SHOWN]}…"


def _config(row: Row) -> str:
    return f"`{row['config']}`" + (" without CDDA" if row.get("cdda") is False else "")


def _seconds(row: Row) -> str:
    if row.get("fits") is False:
        return "did not fit"
    return f"{row['seconds']:.3g} s" if "seconds" in row else ""


def _column(key: str, form: str = "{}", factor: float = 1.0) -> Callable[[Row], str]:
    """Return what writes the value of a key, or nothing where there is none."""

    def write(row: Row) -> str:
        value = row.get(key)
        return "" if value is None else form.format(value if factor == 1 else factor * value)

    return write


def _table(rows: Iterable[Row], columns: Sequence[str]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(COLUMNS[name](row) for name in columns) + " |" for row in rows]
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


COLUMNS: dict[str, Callable[[Row], str]] = {
    "config": _config,
    "network": _column("network"),
    "call": _column("call"),
    "image": _column("size"),
    "precision": _column("mode"),
    "switch": _column("switch"),
    "--amp": _column("amp"),
    "batch": _column("batch"),
    "workers": _column("workers"),
    "windows per pass": _column("windows"),
    "time": _seconds,
    "queued after": _column("host_seconds", "{:.3g} s"),
    "compiling": _column("compile_seconds", "{:.3g} s"),
    "allocated": _column("allocated_gb", "{:.3g} GB"),
    "reserved": _column("reserved_gb", "{:.3g} GB"),
    "of the peak of matrix products": _column("share_of_peak", "{:.2g} %", 100),
    "rate": _column("tflops", "{:.3g} TFLOP/s"),
    "pairs/s": _column("samples_per_second", "{:.3g}"),
}
MEMORY = ("allocated", "reserved")
STEP_COLUMNS = ("config", "precision", "batch", "time", "queued after", *MEMORY)
TABLES = (  # title, measurement, columns
    ("Training steps", STEPS, (*STEP_COLUMNS, "of the peak of matrix products")),
    (
        "Training steps with switches",
        SWITCHED,
        ("config", "precision", "switch", "time", "queued after", "compiling", *MEMORY),
    ),
    ("Matrix products", PRODUCT, ("precision", "rate")),
    (
        "Prediction of one image",
        PREDICTION,
        ("config", "image", "precision", "windows per pass", "time", *MEMORY),
    ),
    ("Depth metric of a step", METRIC, ("call", "time")),
    ("Loader", LOADER, ("workers", "pairs/s")),
    (
        "Depth network",
        DEPTH_NETWORK,
        ("network", "image", "--amp", "time", *MEMORY),
    ),
)
