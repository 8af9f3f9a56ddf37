"""The examination for people and for programs, without the name of the home folder."""

import re
from pathlib import Path
from typing import Any

from mmseg.apis.doctor.examination import Examination
from mmseg.apis.doctor.items import BAD, WARNING

HOME = "~"


def as_text(found: Examination) -> str:
    """Return a line for each item, and what to make of them."""
    lines = [without_home(str(item)) for item in found.items]
    bad = sum(item.mark in BAD for item in found.items)
    warnings = sum(item.mark == WARNING for item in found.items)
    end = f"{bad} missing or broken, {_number(warnings, 'warning')}."
    return "\n".join([*lines, "", end if bad or warnings else "All there."])


def as_json(found: Examination, config: str | None) -> dict[str, Any]:
    """Return `{"config", "status", "items": [{"mark", "name", "text", "command"}]}`."""
    items = [
        {
            "mark": item.mark,
            "name": item.name,
            "text": without_home(item.text),
            "command": item.command and without_home(item.command),
        }
        for item in found.items
    ]
    return {"config": config and without_home(config), "status": found.status, "items": items}


def without_home(text: str) -> str:
    """Write the home folder as `~`, because its name is often that of a person."""
    home = str(Path.home())
    if home == Path(home).anchor:
        return text
    return re.sub(rf"{re.escape(home)}(?![\w.-])", lambda _: HOME, text)


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
