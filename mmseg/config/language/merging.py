"""Merge a config into its bases, and set single values in it."""

from typing import Any

from mmseg.config.language.config_dict import ConfigDict, child, wrap
from mmseg.system.errors import ConfigError

DELETE = "_delete_"


def merge(base: ConfigDict, own: ConfigDict) -> ConfigDict:
    """Merge the content of a file into a copy of `base`."""
    merged = base.copy()
    for key, value in own.items():
        old = merged.get(key)
        is_dict = isinstance(value, ConfigDict)
        replaces = _pop_mark(value) if is_dict else True
        if is_dict and not replaces and isinstance(old, ConfigDict):
            value = merge(old, value)
        elif is_dict and not replaces and key in merged and old is not None:
            raise ConfigError(
                f"{own.origins.get(key, 'the config')}: {key!r} is a dictionary here but "
                f"{type(old).__name__} in {merged.origins.get(key, 'its base')}. "
                "Add _delete_=True to replace it."
            )
        merged[key] = value if not is_dict else _without_marks(value)
        if key in own.origins:
            merged.origins[key] = own.origins[key]
    return merged


def _pop_mark(section: ConfigDict) -> bool:
    """Take `_delete_` out of a section, and return it."""
    mark = section.pop(DELETE, False)
    where = section.origins.pop(DELETE, "the config")
    if not isinstance(mark, bool):
        raise ConfigError(f"{where}: expected True or False for _delete_, got {mark!r}. Write one.")
    return mark


def _without_marks(section: ConfigDict) -> ConfigDict:
    """Remove `_delete_` marks that had nothing to replace."""
    _pop_mark(section)
    for value in section.values():
        if isinstance(value, ConfigDict):
            _without_marks(value)
    return section


def set_at(node: Any, parts: list[str], depth: int, value: Any, source: str) -> Any:
    """Set the value at a dotted path inside `node`, and return what stands in place of `node`.

    That is a new tuple for a tuple, and `node` for all else.
    """
    part, path = parts[depth], ".".join(parts[: depth + 1])
    is_last = depth + 1 == len(parts)
    is_new = is_last and isinstance(node, dict) and part not in node
    old = None if is_new else child(node, part, path, source)
    new = _new(old, value, source) if is_last else set_at(old, parts, depth + 1, value, source)
    if isinstance(node, tuple):
        return tuple(new if number == int(part) else item for number, item in enumerate(node))
    if isinstance(node, list):
        node[int(part)] = new
    elif is_last or new is not old:
        node[part] = new
    if isinstance(node, ConfigDict) and (is_last or not _reaches_section(old, parts[depth + 1 :])):
        node.origins[part] = source
    return node


def _reaches_section(node: Any, parts: list[str]) -> bool:
    """Tell whether a dictionary, with origins of its own, lies on the way to the last part."""
    for part in parts:
        if isinstance(node, dict):
            return True
        node = node[int(part)]
    return False


def _new(old: Any, value: Any, source: str) -> Any:
    """Return what a value makes of an old one: a dictionary merges into a dictionary."""
    wrapped = wrap(value, source)
    if not isinstance(wrapped, ConfigDict):
        return wrapped
    if _pop_mark(wrapped) or not isinstance(old, ConfigDict):
        return _without_marks(wrapped)
    return merge(old, wrapped)
