"""A table of classes: their names, colors and the ids that label files use for them.

It is a list in a config, or a JSON or CSV file: `[{"name": "sky", "color": [70, 130, 180],
"id": 23}, …]`, or the header `name,id,r,g,b` and a line per class. Ids and colors may be left out;
an id may be a list of ids that mean one class. The order is that of the train ids.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from mmseg.config.values import Label, Text
from mmseg.datasets.labels import Palette
from mmseg.system.errors import ConfigError
from mmseg.system.files import refuse_endless

Color = Annotated[Sequence[Label], Field(min_length=3, max_length=3)]
LabelId = Annotated[int, Field(ge=0, le=65535)]
HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
MOST = 255  # classes, because 255 is ignored
WAYS = "[{'name': 'sky', 'color': [70, 130, 180], 'id': 23}, …]"


@dataclass(frozen=True)
class ClassEntry:
    """One class."""

    name: Text
    color: Color | None = None
    id: LabelId | Sequence[LabelId] | None = None


JUDGE = TypeAdapter(ClassEntry)
Classes = Text | Annotated[Sequence[Text | Mapping[str, Any]], Field(min_length=1, max_length=MOST)]


@dataclass(frozen=True)
class ClassTable:
    """The classes of a dataset, in the order of the train ids."""

    entries: tuple[ClassEntry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class."""
        return tuple(entry.name for entry in self.entries)

    @property
    def colors(self) -> Palette | None:
        """The color of each class, if all have one."""
        colors = [entry.color for entry in self.entries if entry.color is not None]
        return [list(c) for c in colors] if len(colors) == len(self.entries) else None

    @property
    def train_ids(self) -> dict[int, int]:
        """The train id of each label id; without ids in the table, both are the same."""
        ids = {}
        for train_id, entry in enumerate(self.entries):
            own = train_id if entry.id is None else entry.id
            for label_id in [own] if isinstance(own, int) else own:
                if label_id in ids:
                    raise ConfigError(
                        f"expected a different id for each class, got {label_id} for "
                        f"{self.names[ids[label_id]]!r} and {entry.name!r}. Correct the table."
                    )
                ids[label_id] = train_id
        return ids


def read_class_table(value: Any) -> ClassTable:
    """Return the table that a config states, or that is in the file it names.

    `ConfigError` for a table that is none.
    """
    rows, place = (value, "classes") if not isinstance(value, str) else _read(Path(value))
    entries = []
    for number, row in enumerate(rows):
        row = {"name": row} if isinstance(row, str) else row
        try:
            entries.append(JUDGE.validate_python(dict(row)))
        except (ValidationError, TypeError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ConfigError(
                f"{place}: expected a name, and a color and an id if you like, for each class, got "
                f"{row!r} as number {number} ({reason}). Write the table as {WAYS}."
            ) from None
    if not 0 < len(entries) <= MOST:
        raise ConfigError(f"{place}: expected 1 to {MOST} classes, got {len(entries)}. Correct it.")
    return ClassTable(tuple(entries))


def _read(path: Path) -> tuple[list[Any], str]:
    """Return the rows of a file and what it is called in messages."""
    place = f"table of classes '{path}'"
    refuse_endless(path, "a table of classes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(
            f"expected a {place}, got no such file. Correct the path."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{place}: expected UTF-8 text, got something else. Save it so."
        ) from error
    if path.suffix.lower() == ".csv":
        return [_csv_row(row) for row in csv.DictReader(io.StringIO(text))], place
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: expected JSON or, as .csv, CSV, got: {error}.") from error
    if not isinstance(rows, list):
        raise ConfigError(f"{place}: expected a list, got {type(rows).__name__}. Write {WAYS}.")
    return rows, place


def _csv_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a CSV file as JSON would have it; colors may be #rrggbb or three columns."""
    values = {str(k).strip().lower(): v.strip() for k, v in row.items() if isinstance(v, str)}
    entry: dict[str, Any] = {"name": values.get("name", "")}
    if values.get("id"):
        ids = [int(part) for part in values["id"].replace(";", " ").split()]
        entry["id"] = ids[0] if len(ids) == 1 else ids
    if found := HEX.fullmatch(values.get("color", "")):
        entry["color"] = [int(part, 16) for part in found.groups()]
    elif all(values.get(part) for part in "rgb"):
        entry["color"] = [int(values[part]) for part in "rgb"]
    return entry
