"""Write a config as the text of a file that reads back to the same values.

Python can say everything. JSON and YAML have no tuples: they come back as lists.
"""

import enum
import json
import keyword
import math
import pprint
import reprlib
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from mmseg.config.language.config_dict import check_extent, join, plain
from mmseg.config.language.sources import BASE, BRACES, CODE, SUFFIXES, YAML_SUFFIXES, Dumper
from mmseg.system.errors import ConfigError

MAX_DECIMAL = 10**4000  # Python reads no longer number in decimal digits
IMPORTABLE = type | types.FunctionType | types.BuiltinFunctionType
IN_EVERY_FORMAT = (str, int, float, bool, type(None))


def text_of(values: Mapping[str, Any], suffix: str) -> str:
    """Return values as the text of a file with this suffix."""
    check_extent(values)
    if suffix == ".py":
        return python_text(values)
    if suffix == ".json":
        data = _without_python(values, "", "JSON", (str,))
        return json.dumps(data, indent=2).replace(BRACES, r"{\u007b")
    if suffix in YAML_SUFFIXES:
        data = _without_python(values, "", "YAML", IN_EVERY_FORMAT)
        return yaml.dump(data, Dumper=Dumper, sort_keys=False).replace(BRACES, r"{\x7b")
    raise ConfigError(
        f"expected a file name that ends in {', '.join(SUFFIXES)}, got {suffix!r}. Rename the file."
    )


def python_text(values: Mapping[str, Any]) -> str:
    """Write top-level values as the text of a Python file."""
    writer = _PythonWriter(values)
    lines = []
    for key, value in values.items():
        if isinstance(value, CODE):
            raise ConfigError(
                f"{key}: expected a value that is no code at the top level, where a config file "
                f"keeps code to itself, got {reprlib.repr(value)}. Put it into a dictionary."
            )
        written = writer.written(value, str(key))
        text = pprint.pformat(written, width=100, sort_dicts=False)
        lines.append(f"{writer.target(key)} = {text}\n")
    return "".join([*sorted(writer.imports), *lines]).replace(BRACES, r"{\x7b")


class _Written:
    """An expression that `pprint` copies as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _PythonWriter:
    """Turn values into what `pprint` writes correctly, and collect the imports that they need."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.imports: set[str] = set()

    def target(self, key: Any) -> str:
        """Return what a top-level value is assigned to."""
        if not isinstance(key, str) or (key.startswith("_") and key != BASE):
            raise ConfigError(
                f"expected top-level names that are words without a leading underscore, "
                f"got {key!r}. Rename it."
            )
        if key.isascii() and key.isidentifier() and not keyword.iskeyword(key):
            return key
        return f"{self.builtin('globals')}()[{key!r}]"

    def builtin(self, name: str) -> str:
        """Return how a function of Python is called, also if the config has a value of its name."""
        return self.imported("builtins", name) if name in self.names else name

    def imported(self, module: str, name: str) -> str:
        """Import a module under a name that is no value of the config."""
        alias = "_" + module.replace(".", "__")
        self.imports.add(f"import {module} as {alias}\n")
        return f"{alias}.{name}"

    def written(self, value: Any, path: str) -> Any:
        """Return a value with everything that is no plain literal as `_Written`."""
        value = plain(value)
        if isinstance(value, Mapping):
            return {
                self.written(key, path): self.written(item, join(path, key))
                for key, item in value.items()
            }
        kind = type(value)
        if kind in (list, tuple):
            return kind(self.written(item, join(path, n)) for n, item in enumerate(value))
        if kind in WRITERS:
            text = WRITERS[kind](self, value, path)
            return value if text is None else _Written(text)
        if isinstance(value, enum.Enum):
            is_member = value.name in kind.__members__
            cls = self.reference(kind, path)
            return _Written(f"{cls}[{value.name!r}]" if is_member else f"{cls}({value.value!r})")
        return _Written(self.reference(value, path))

    def reference(self, value: Any, path: str) -> str:
        """Return the import and the dotted name of a class or function."""
        is_importable = isinstance(value, IMPORTABLE)
        module, name = (value.__module__, value.__qualname__) if is_importable else ("", "")
        found: Any = sys.modules.get(module or "") if module != "__main__" else None
        for part in name.split("."):
            found = getattr(found, part, None)
        if not is_importable or found is not value:
            raise ConfigError(
                f"{path}: expected a value that a file can hold, got {reprlib.repr(value)}. Give "
                "a class or function of a module, or a number, text, list or dictionary."
            )
        is_builtin = module == "builtins" and "." not in name
        return self.builtin(name) if is_builtin else self.imported(str(module), name)

    def call(self, name: str, *arguments: Any, path: str = "") -> str:
        """Return the call of a function of Python."""
        inner = ", ".join(repr(self.written(argument, path)) for argument in arguments)
        return f"{self.builtin(name)}({inner})"

    def float(self, value: float, path: str) -> str | None:
        """Write what is no literal."""
        return None if math.isfinite(value) else self.call("float", repr(value), path=path)

    def set(self, value: set[Any] | frozenset[Any], path: str) -> str:
        """Write the items in an order that does not depend on the process."""
        items = sorted(repr(self.written(item, path)) for item in value)
        return f"{self.builtin(type(value).__name__)}([{', '.join(items)}])"


Writer = Callable[[_PythonWriter, Any, str], str | None]
WRITERS: dict[type, Writer] = {
    **dict.fromkeys((str, bytes, bool, type(None), type(...)), lambda *_: None),
    int: lambda writer, value, path: None if abs(value) < MAX_DECIMAL else hex(value),
    float: _PythonWriter.float,
    complex: lambda writer, value, path: writer.call("complex", value.real, value.imag, path=path),
    range: lambda writer, value, path: writer.call(
        "range", value.start, value.stop, value.step, path=path
    ),
    **dict.fromkeys((set, frozenset), _PythonWriter.set),
}


def _without_python(value: Any, path: str, name: str, key_kinds: tuple[type, ...]) -> Any:
    """Return dictionaries and lists of what JSON and YAML know; `ConfigError` for all else."""
    value = plain(value)
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in key_kinds:
                raise ConfigError(
                    f"{join(path, key)}: expected a name as the key of a dictionary in {name}, got "
                    f"{key!r}. Write a .py file."
                )
        return {
            key: _without_python(item, join(path, key), name, key_kinds)
            for key, item in value.items()
        }
    if type(value) in (list, tuple):
        items = enumerate(value)
        return [_without_python(item, join(path, n), name, key_kinds) for n, item in items]
    is_long = type(value) is int and abs(value) >= MAX_DECIMAL
    if type(value) not in IN_EVERY_FORMAT or is_long:
        raise ConfigError(
            f"{path}: expected a value that {name} can hold, got {reprlib.repr(value)}. "
            "Write a .py file."
        )
    return value
