"""What a series has found: mean and standard deviation per class over the seeds of each config."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.apis.series.progress import Record, best_of, evaluations
from mmseg.evaluation.report import text_table
from mmseg.system.files import write_json

DIGITS = 6
CLASS_KEY = "IoU."
NOTE = (
    "fractions; std is the sample standard deviation (n - 1) over the seeds, null for one seed; "
    "'last' is after the last iteration, 'best' where the mIoU of a run was highest; values are in "
    "the order of the seeds"
)
TITLES = ("last", "best")
ALONE = " ± –"  # in place of the deviation of a single run


def summary(groups: Mapping[str, Mapping[int | None, Path]]) -> dict[str, Any]:
    """Return the content of the summary: each config with its finished runs, {seed: folder}.

    Configs without a finished and evaluated run are left out.
    """
    entries = [_entry(name, folders) for name, folders in groups.items()]
    return {"note": NOTE, "configs": [entry for entry in entries if entry]}


def write_summary(file: Path, content: Mapping[str, Any]) -> None:
    """Write the summary as JSON."""
    write_json(file, content, allow_nan=False)


def summary_lines(entry: Mapping[str, Any]) -> list[str]:
    """Return a table per class and a line of means of one config, in percent, for the log.

    Means are those of the seeds; `–` stands for the deviation of a single one.
    """
    columns: dict[str, list[str]] = {"Class": list(entry["last"]["per_class"])}
    lines = [f"{entry['name']}, {_named_seeds(entry['seeds'])}:"]
    means = []
    for title in TITLES:
        columns[f"IoU {title}"] = [mean_and_std(v) for v in entry[title]["per_class"].values()]
        shown = (f"{key} {mean_and_std(value)}" for key, value in entry[title]["means"].items())
        means.append(f"{title}: {', '.join(shown)}")
    return [*lines, "\n" + text_table(columns), *means]


def mean_and_std(value: Mapping[str, Any]) -> str:
    """Return mean and standard deviation in percent.

    >>> mean_and_std({"mean": 0.51234, "std": 0.012}), mean_and_std({"mean": 0.5, "std": None})
    ('51.23 ± 1.20', '50.00 ± –')
    """
    if value["mean"] is None:
        return "nan"
    std = ALONE if value["std"] is None else f" ± {100 * value['std']:.2f}"
    return f"{100 * value['mean']:.2f}{std}"


def _entry(name: str, folders: Mapping[int | None, Path]) -> dict[str, Any] | None:
    """Return the results of one config, or None if no run has any."""
    found = {seed: evaluations(folder) for seed, folder in folders.items()}
    found = {seed: records for seed, records in found.items() if records}
    if not found:
        return None
    last = [records[max(records)] for records in found.values()]
    best = [records[best_of(records)] for records in found.values()]
    return {
        "name": name,
        "seeds": list(found),
        "runs": [folders[seed].as_posix() for seed in found],
        "last": _statistics(last),
        "best": _statistics(best),
    }


def _statistics(records: Sequence[Record]) -> dict[str, Any]:
    """Return iterations, means and values per class of one record per seed."""
    names = list(dict.fromkeys(key for record in records for key in record))
    means = [name for name in names if name.startswith("mIoU")]
    classes = [name for name in names if name.startswith(CLASS_KEY)]
    return {
        "iterations": [record["iter"] for record in records],
        "means": {name: _over_seeds(r.get(name) for r in records) for name in means},
        "per_class": {
            name.removeprefix(CLASS_KEY): _over_seeds(r.get(name) for r in records)
            for name in classes
        },
    }


def _over_seeds(values: Iterable[float | None]) -> dict[str, Any]:
    """Return mean and sample standard deviation of the values that are defined."""
    values = list(values)
    defined = [value for value in values if value is not None]
    mean = round(statistics.fmean(defined), DIGITS) if defined else None
    std = round(statistics.stdev(defined), DIGITS) if len(defined) > 1 else None
    return {"mean": mean, "std": std, "values": values}


def _named_seeds(seeds: Sequence[int | None]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
