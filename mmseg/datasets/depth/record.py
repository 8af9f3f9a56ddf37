"""`depth.json`: how the depth maps of a folder were made.

Depth of two domains can be compared only if both were made in the same way. The record says it in
two parts: the recipe decides the maps and is compared, the details are for people.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmseg.system.files import atomic_write

RECORD_FILE = "depth.json"
_NOTHING = "nothing"
_HASH = re.compile("[0-9a-f]{32,}")
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class DepthRecord:
    """How the maps of a folder were made, in plain values of JSON.

    recipe: what decides the maps; maps of different recipes do not belong together.
    details: names and versions; they are not compared.
    """

    recipe: dict[str, Any]
    details: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Leave the record beside the maps."""
        text = json.dumps(asdict(self), indent=2, default=_refuse)
        with atomic_write(Path(folder) / RECORD_FILE, "w") as file:
            file.write(text + "\n")


def read_record(folder: str | Path) -> DepthRecord | None:
    """Return the record in a folder, None if there is none.

    Raises:
        ValueError: the file is no record.
        OSError: the file cannot be read.
    """
    path = Path(folder) / RECORD_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # no JSON, no text, or brackets without end
        found = None
    found = found if isinstance(found, dict) else {}
    recipe, details = found.get("recipe"), found.get("details")
    if not isinstance(recipe, dict) or not isinstance(details, dict):
        raise ValueError(
            f"expected how the depth maps beside it were made in '{path}', got a broken file. "
            "Delete it and make the maps again with tools/make_depth.py --overwrite, or copy it "
            "again."
        )
    return DepthRecord(recipe, details)


def find_record(dep_dir: str | Path) -> DepthRecord | None:
    """Return the record of the maps in a folder: beside them, or one folder above.

    The maps of all splits may share one record: `depth_any/train` has that of `depth_any`.
    """
    folder = Path(dep_dir).absolute()
    return read_record(folder) or read_record(folder.parent)


def recorded_model(dep_dir: str | Path) -> str | None:
    """Return the model that made the maps in a folder, as it was named then, if that is known."""
    with suppress(OSError, ValueError):
        record = find_record(dep_dir)
        model = None if record is None else record.details.get("model")
        return model if isinstance(model, str) else None
    return None


def recipe_hash(record: DepthRecord | None) -> str | None:
    """Return a short hash by which a recipe is recognized; None of an unknown one.

    >>> recipe_hash(DepthRecord({"a": (1, 2), "b": 3}, {"x": 1})) == recipe_hash(
    ...     DepthRecord({"b": 3, "a": [1, 2]}, {})
    ... )
    True
    """
    if record is None:
        return None
    text = json.dumps(record.recipe, sort_keys=True, default=_refuse)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Say in what two recipes differ: a line per key, sorted, nested keys with dots.

    >>> recipe_differences({"input": {"size": 518}, "a": 1}, {"input": {"size": 700}, "a": 1})
    ['input.size: 518 and 700']
    """
    left, right = _flat(one), _flat(other)
    keys = sorted(key for key in {*left, *right} if left.get(key) != right.get(key))
    return [f"{key}: {_both(left.get(key), right.get(key))}" for key in keys]


def record_warnings(source_dir: str | Path | None, target_dir: str | Path | None) -> list[str]:
    """Say if the maps of source and target were, or may have been, made differently.

    Args:
        source_dir: folder of the source maps, None without depth.
        target_dir: folder of the target maps, None without depth.
    """
    if source_dir is None or target_dir is None:
        return []
    folders = [Path(source_dir), Path(target_dir)]
    try:
        source, target = (find_record(folder) for folder in folders)
    except (OSError, ValueError) as error:  # the maps themselves may be good
        return [f"It is not known whether the depth maps of both domains belong together: {error}"]
    advice = (
        "CDDA compares the depth of both domains: make both with the same command "
        "(tools/make_depth.py) and model."
    )
    if source is not None and target is not None:
        differences = recipe_differences(source.recipe, target.recipe)
        where = f"source ('{source_dir}') and target ('{target_dir}')"
        if not differences:
            return []
        return [
            f"The depth maps of {where} were made differently: {'; '.join(differences)}. {advice}"
        ]
    if source is None and target is None:
        return []
    known, unknown = folders if target is None else folders[::-1]
    return [
        f"It is not known whether the depth maps of both domains were made in the same way: those "
        f"in '{known}' have a {RECORD_FILE}, those in '{unknown}' have none. {advice}"
    ]


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return {dotted key: JSON text}: so tuples equal the lists that are read back for them."""
    flat: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, sort_keys=True, default=_refuse)
    return flat


def _both(left: str | None, right: str | None) -> str:
    shown = [_shown(value) for value in (left, right)]
    if shown[0] == shown[1]:  # two hashes that differ behind the part that is shown
        shown = [_shown(value, digits=None) for value in (left, right)]
    return " and ".join(shown)


def _shown(text: str | None, digits: int | None = _SHOWN_DIGITS) -> str:
    """Write a JSON text as Python does, hashes shortened."""
    if text is None:
        return _NOTHING
    value = json.loads(text)
    if digits is not None and isinstance(value, str) and _HASH.fullmatch(value):
        return f"'{value[:digits]}…'"
    return repr(value)


def _refuse(value: Any) -> Any:
    raise TypeError(f"expected plain values in a record of depth maps, got {type(value).__name__}.")
