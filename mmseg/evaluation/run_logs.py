"""Read the JSON-lines logs of a run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATTERNS = ("*.log.json", "*.jsonl")
MODES = ("train", "val")
Record = dict[str, Any]


def log_files(run: str | Path) -> list[Path]:
    """Return the logs in a work folder, one for each start, the oldest first; or the log given.

    `FileNotFoundError` if there are none.
    """
    path = Path(run)
    files = sorted(file for pattern in PATTERNS for file in path.glob(pattern))
    if path.is_file():
        files = [path]
    if not files:
        raise FileNotFoundError(
            f"expected a log ({' or '.join(PATTERNS)}) in {run}, got none. "
            "Give the work folder of a run."
        )
    return files


def records(file: Path) -> Iterator[Record]:
    """Yield the records of a log that belong to an iteration; a line that was cut off is none."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        known = isinstance(record, dict) and record.get("mode") in MODES
        if known and isinstance(record.get("iter"), int):
            yield record
