"""Take the paths of a machine out of what is published: they name people, disks and projects."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from mmseg.config.language.plain_text import plain_values
from mmseg.config.run_config import NOT_HASHED
from mmseg.system.errors import ConfigError

DROPPED = {*NOT_HASHED} - {"name"}  # what tells where and how long a run lay on its machine
# An absolute path in a longer text, such as an option of a command.
BEFORE = r"""(?:(?<=[\s'"=(\[{,])|^)"""
INSIDE = re.compile(BEFORE + r"""(?:file://)?(?:~?/|[A-Za-z]:[\\/]|\\\\)[^\s'"=,;()\[\]{}]+""")


def shared_config(text: Any) -> dict[str, Any] | None:
    """Return the values in the text of a checkpoint's config, fit to be shared.

    The text is read and never executed; None if it is no text, or does more than name plain values.
    """
    if not isinstance(text, str):
        return None
    try:
        values = plain_values(text, "the checkpoint")
    except ConfigError:
        return None
    return without_machine({key: value for key, value in values.items() if key not in DROPPED})


def without_machine(value: Any) -> Any:
    """Return nested values whose texts name no absolute path.

    Those below the current folder start there; of others, the last part is left.

    >>> without_machine(["/home/me/gta", "--work-dir=/runs/1", "data/gta", "https://a.org/b"])
    ['gta', '--work-dir=1', 'data/gta', 'https://a.org/b']
    """
    if isinstance(value, Mapping):
        return {key: without_machine(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_machine(item) for item in value)
    if not isinstance(value, str):
        return value
    if _is_absolute(value) and "\n" not in value:
        return _short(value)
    return INSIDE.sub(lambda found: _short(found[0]), value)


def _is_absolute(text: str) -> bool:
    is_known = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return is_known or text.startswith("~/")


def _short(path: str) -> str:
    here = Path.cwd()
    if Path(path).is_relative_to(here):
        return Path(path).relative_to(here).as_posix()
    return PureWindowsPath(path).name or path
