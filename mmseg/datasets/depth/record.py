"""`depth.json`: how the depth maps of a folder were made.

The depth of two domains can be compared only if both were made in the same way. A record has two
parts: the recipe determines the maps and is compared; the details are for people.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmseg.system import archives
from mmseg.system.files import atomic_write

RECORD_FILE = "depth.json"


@dataclass(frozen=True)
class DepthRecord:
    """How the maps of a folder were made, in plain JSON values."""

    recipe: dict[str, Any]  # what determines the maps; those of two recipes do not belong together
    details: dict[str, Any]  # names and versions; they are not compared

    def write(self, folder: Path) -> None:
        """Leave the record beside the maps."""
        with atomic_write(Path(folder) / RECORD_FILE, "w") as file:
            file.write(json.dumps(asdict(self), indent=2) + "\n")


def read_record(folder: str | Path) -> DepthRecord | None:
    """Return the record in a folder, which may lie in an archive, or None.

    Raises `ValueError` if the file is not a record, `OSError` if it cannot be read.
    """
    path = Path(folder) / RECORD_FILE
    if not archives.has_file(path):
        return None
    try:
        content = archives.read(path) if archives.is_inside(path) else path.read_bytes()
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):  # not JSON, not text, or endless brackets
        found = None
    found = found if isinstance(found, dict) else {}
    recipe, details = found.get("recipe"), found.get("details")
    if not isinstance(recipe, dict) or not isinstance(details, dict):
        raise ValueError(
            f"expected how the depth maps beside it were made in '{path}', got a broken file. "
            "Copy it again, or delete it and remake the maps with: tools/make_depth.py --overwrite"
        )
    return DepthRecord(recipe, details)


def find_record(dep_dir: str | Path) -> DepthRecord | None:
    """Return the record of the maps in a folder: beside them, or one folder above.

    All splits may share one record: that of `depth_any` also counts for `depth_any/train`.
    """
    folder = Path(dep_dir).absolute()
    return read_record(folder) or read_record(folder.parent)


def recorded_model(dep_dir: str | Path) -> str | None:
    """Return the name of the model that made the maps in a folder, if it is known."""
    record = None
    with suppress(OSError, ValueError):
        record = find_record(dep_dir)
    model = record and record.details.get("model")
    return model if isinstance(model, str) else None


def recipe_hash(record: DepthRecord | None) -> str | None:
    """Return a short hash that identifies a recipe, or None if it is unknown.

    >>> recipe_hash(DepthRecord({"a": (1, 2), "b": 3}, {"x": 1})) == recipe_hash(
    ...     DepthRecord({"b": 3, "a": [1, 2]}, {})
    ... )
    True
    """
    if record is None:
        return None
    text = json.dumps(record.recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Say how two recipes differ: a line per key, sorted; nested keys have dots.

    >>> recipe_differences({"input": {"size": 518}, "a": 1}, {"input": {"size": 700}, "a": 1})
    ['input.size: 518 and 700']
    """
    left, right = _flat(one), _flat(other)
    differing = sorted(key for key in left | right if left.get(key) != right.get(key))
    return [f"{key}: {_shown(left, key)} and {_shown(right, key)}" for key in differing]


def record_warnings(source_dir: str | Path | None, target_dir: str | Path | None) -> list[str]:
    """Say if the maps in two folders were, or may have been, made differently; None: no depth."""
    if source_dir is None or target_dir is None:
        return []
    folders = [Path(source_dir), Path(target_dir)]
    try:
        source, target = (find_record(folder) for folder in folders)
    except (OSError, ValueError) as error:  # the maps themselves may be good
        return [f"It is unknown whether the depth maps of both domains belong together: {error}"]
    if source is None and target is None:
        return []
    advice = (
        "CDDA compares the depth of both domains: make both with the same command "
        "(tools/make_depth.py) and model."
    )
    if source is None or target is None:
        known, unknown = folders if target is None else folders[::-1]
        return [
            "It is unknown whether the depth maps of both domains were made in the same way: those "
            f"in '{known}' have a {RECORD_FILE}, those in '{unknown}' have none. {advice}"
        ]
    differences = "; ".join(recipe_differences(source.recipe, target.recipe))
    where = f"source ('{source_dir}') and target ('{target_dir}')"
    said = f"The depth maps of {where} were made differently: {differences}. {advice}"
    return [said] if differences else []


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return {dotted key: JSON text}, in which a tuple equals the list that is read back for it."""
    flat: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, sort_keys=True)
    return flat


def _shown(flat: Mapping[str, str], key: str) -> str:
    """Write a value as Python does, a hash by its first digits."""
    text = repr(json.loads(flat[key])) if key in flat else "nothing"
    return re.sub(r"^'([0-9a-f]{12})[0-9a-f]{20,}'$", r"'\1…'", text)
