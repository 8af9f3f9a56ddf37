"""Read one config file: Python, YAML or JSON. What is broken in it ends in one sentence."""

import __future__

import ast
import json
import re
import traceback
import types
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from mmseg.config.language.config_dict import MAX_VALUES, check_extent
from mmseg.config.language.origins import Origin, of_python, of_yaml
from mmseg.config.language.templates import InPython, Templates, python_source
from mmseg.system.errors import ConfigError

BASE = "_base_"
YAML_SUFFIXES = (".yaml", ".yml")
# What a file keeps to itself; a feature is what `from __future__ import annotations` leaves.
CODE = types.ModuleType | types.FunctionType | type | type(__future__.annotations)
SUFFIXES = (".py", ".json", *YAML_SUFFIXES)
BRACES = "{" + "{"  # the start of a template
MAX_TEXT_WITH_LINES = 100_000  # finding the lines of a longer JSON file would take seconds
TOO_DEEP = "expected at most 100 levels of dictionaries and lists, got more. Write it flatter."
# What the constructors of PyYAML raise for a value that does not fit its tag.
YAML_ERRORS = (ValueError, TypeError, LookupError, AttributeError)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader; `1e-4` is a number, dates are words, and no key comes twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.flat: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys of a mapping, then merge in the mappings of `<<`."""
        if id(node) in self.flat:
            return
        self.flat.add(id(node))
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"a second {key.value!r}", problem_mark=key.start_mark
                )
            seen.add((key.tag, str(key.value)))
        super().flatten_mapping(node)
        if len(node.value) > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem="too many merges", problem_mark=node.start_mark)


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which writes what `Loader` reads."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write shared values each time they come."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Quote texts with the braces of a template, so that they can be escaped."""
        style = '"' if BRACES in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


Dumper.add_representer(str, Dumper.represent_text)
for kind in (Loader, Dumper):
    kind.yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":timestamp")]
        for letter, pairs in kind.yaml_implicit_resolvers.items()
    }
    kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def source_text(file: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark."""
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: expected text in UTF-8, got the byte 0x{data[error.start]:02x}. "
            "Save the file as UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_source(text: str, file: Path, names: dict[str, Any], templates: Templates) -> Origin:
    """Put the values of a config file into `names`, and return where they are written.

    `names` has the file's `_base_` as soon as a template may ask for it.
    """
    if file.suffix == ".json":
        origin = _read_json(templates.in_text(text), file, names)
    elif file.suffix in YAML_SUFFIXES:
        origin = _read_yaml(templates.in_text(text), file, names)
    else:
        origin = _run_python(text, file, names, templates)
    for name, value in list(names.items()):
        if not isinstance(name, str):
            raise ConfigError(
                f"{origin.at(name).text}: expected a word as the name of a section, got {name!r}. "
                "Put it into quotes."
            )
        if name != BASE and (name.startswith("_") or isinstance(value, CODE)):
            del names[name]
    for name in names:
        check_extent(names[name], f"{origin.at(name).text}: ")
    if file.suffix in (".json", *YAML_SUFFIXES):
        names.update(templates.in_values(names))
    return origin


def _run_python(text: str, file: Path, names: dict[str, Any], templates: Templates) -> Origin:
    source = python_source(text)
    try:
        tree = ast.parse(source, str(file))
        origin = of_python(tree, str(file))
        code = compile(InPython(source).visit(tree), str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(
            f"{file}{f':{line}' if line else ''}: expected Python, got a mistake in it: "
            f"{_one_line(getattr(error, 'msg', error))}. Correct it."
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"{file}: {TOO_DEEP}") from error
    names.update(__file__=str(file), __name__=file.stem)
    names.update(__filled__=templates.filled, __bare__=templates.bare)
    try:
        exec(code, names)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a config may do anything
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(file)), None)
        words = "".join(traceback.format_exception_only(error))
        raise ConfigError(
            f"{file}{f':{line}' if line else ''}: expected a file that runs to its end, got "
            f"{_one_line(words)}. Correct the line."
        ) from error
    return origin


def _read_json(text: str, file: Path, names: dict[str, Any]) -> Origin:
    def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            twin = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ConfigError(f"{file}: expected each key once, got {twin!r} twice. Remove one.")
        return values

    try:
        values = json.loads(text, object_pairs_hook=without_twins)
    except ConfigError:
        raise
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise ConfigError(
            f"{file}:{line}: expected JSON, got a mistake in it: {getattr(error, 'msg', error)}. "
            "Correct it."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{file}: {TOO_DEEP}") from error
    _take(values, names, file)
    try:  # the lines: JSON is YAML, nearly
        loader = Loader(text.replace("\t", " ") if len(text) < MAX_TEXT_WITH_LINES else "")
        return of_yaml(loader.get_single_node(), str(file), loader.construct_object)
    except (yaml.YAMLError, RecursionError, *YAML_ERRORS):
        return Origin(str(file))


def _read_yaml(text: str, file: Path, names: dict[str, Any]) -> Origin:
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        _take(node and loader.construct_document(node), names, file)
        check_extent(names, f"{file}: ")
        return of_yaml(node, str(file), lambda key: loader.construct_object(key, deep=True))
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(f"{file}: {TOO_DEEP}") from error
    except (yaml.YAMLError, *YAML_ERRORS) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ConfigError(
            f"{file}{f':{mark.line + 1}' if mark else ''}: expected YAML, got a mistake in it: "
            f"{_one_line(what)}. Correct it."
        ) from error


def _one_line(words: object) -> str:
    return " ".join(str(words).split()).rstrip(".?")


def _take(values: Any, names: dict[str, Any], file: Path) -> None:
    if not isinstance(values, dict):
        raise ConfigError(
            f"{file}:1: expected names with values at the top level, got "
            f"{type(values).__name__}. Write the sections of a config there."
        )
    names.update(values)
