"""Fill `{{ … }}` in config files: parts of the file's name, values of its bases, the environment.

As in mmcv and mmengine: `{{ fileDirname }}`, `{{ fileBasename }}`, `{{ fileBasenameNoExtension }}`,
`{{ fileExtname }}`, `{{ _base_.model.head }}`, `{{ $NAME }}` and `{{ $NAME:default }}`. A value of
the bases that stands alone, bare or in quotes, keeps its type; within a longer text it is text.
"""

import ast
import copy
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmseg.config.language.config_dict import child, unwrap
from mmseg.config.language.options_text import parse_value
from mmseg.system.errors import ConfigError, nearest

TEMPLATE = re.compile(r"\{\{\s*(\$[^{}\n]*?|[\w.]+)\s*\}\}")
ENVIRONMENT = re.compile(r"\{\{\s*\$([^{}\n]*?)\s*\}\}")
FILE_PARTS: dict[str, Callable[[Path], str]] = {
    "fileDirname": lambda file: str(file.parent),
    "fileBasename": lambda file: file.name,
    "fileBasenameNoExtension": lambda file: file.stem,
    "fileExtname": lambda file: file.suffix,
}
KNOWN = [*FILE_PARTS, "_base_.KEY", "$NAME", "$NAME:default"]
BASE_PREFIX = "_base_."
# `$` is no Python, and a base has no value before it is read: until then these names stand there.
MARK_OF_ENVIRONMENT, MARK_OF_BASE = "_environment_", "_value_of_base_"
MARKED = re.compile(MARK_OF_BASE + r"([0-9a-f]+)_")
IN_F_STRING = re.compile(
    r"\{\s*((?:" + "|".join([*FILE_PARTS, MARK_OF_ENVIRONMENT, r"_base_\."]) + r")[\w.]*)\s*\}"
)


class Templates:
    """The values of the templates of one file."""

    def __init__(self, file: Path, base: Callable[[], Mapping[str, Any]]) -> None:
        self.file = file
        self.base = base

    def value(self, word: str, line: int) -> Any:
        """Return what a template stands for; environment variables are text."""
        where = f"{self.file}:{line}"
        if word.startswith(MARK_OF_ENVIRONMENT):
            word = "$" + _decoded(word.removeprefix(MARK_OF_ENVIRONMENT))
        if word.startswith("$"):
            return _environment(word, where)
        if word in FILE_PARTS:
            return FILE_PARTS[word](self.file.absolute())
        if not word.startswith(BASE_PREFIX):
            raise ConfigError(
                f"{where}: expected a known name in {{{{ }}}}, got {word!r}{nearest(word, KNOWN)}"
            )
        node: Any = self.base()
        for part in word.removeprefix(BASE_PREFIX).split("."):
            node = child(node, part, word, where)
        return copy.deepcopy(unwrap(node))

    def bare(self, word: str, line: int) -> Any:
        """Return the value of a template outside of quotes: `{{ $NAME }}` may be a number."""
        value = self.value(word, line)
        return parse_value(value, word) if word.startswith(MARK_OF_ENVIRONMENT) else value

    def filled(self, text: str, line: int) -> Any:
        """Return a text with its templates filled, or the value of a base that stands alone."""
        whole = TEMPLATE.fullmatch(text)
        if whole and whole[1].startswith(BASE_PREFIX):
            return self.value(whole[1], line)
        return TEMPLATE.sub(lambda match: str(self.value(match[1], line)), text)

    def in_text(self, text: str) -> str:
        """Fill the text of a YAML or JSON file, and mark the values of its bases for `in_values`.

        Comments stay as they are.
        """

        def fill(match: re.Match[str]) -> str:
            start = text.rfind("\n", 0, match.start()) + 1
            if text[start:].lstrip().startswith("#"):
                return match[0]
            line = text.count("\n", 0, match.start()) + 1
            if match[1].startswith(BASE_PREFIX):
                return f"{MARK_OF_BASE}{_encoded(f'{line} {match[1]}')}_"
            value = self.value(match[1], line)
            return json.dumps(value)[1:-1] if self.file.suffix == ".json" else value

        return TEMPLATE.sub(fill, text)

    def in_values(self, value: Any) -> Any:
        """Put the values of the bases where `in_text` has marked them."""
        if isinstance(value, dict):
            return {self.in_values(key): self.in_values(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.in_values(item) for item in value)
        if not isinstance(value, str):
            return value
        whole = MARKED.fullmatch(value)
        if whole:
            return self._marked(whole)
        return MARKED.sub(lambda match: str(self._marked(match)), value)

    def _marked(self, match: re.Match[str]) -> Any:
        line, _, word = _decoded(match[1]).partition(" ")
        return self.value(word, int(line))


def python_source(text: str) -> str:
    """Write the names of environment variables in a way that Python can parse."""
    return ENVIRONMENT.sub(
        lambda match: "{{ " + MARK_OF_ENVIRONMENT + _encoded(match[1]) + " }}", text
    )


class InPython(ast.NodeTransformer):
    """Replace the templates in a parsed Python file by calls of `__filled__` and `__bare__`.

    Only what stands in the source counts, so a text with an escaped brace stays.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Replace a text with templates."""
        if not isinstance(node.value, str) or not TEMPLATE.search(node.value):
            return node
        written = ast.get_source_segment(self.source, node) or ""
        return _call("__filled__", node.value, node) if TEMPLATE.search(written) else node

    def visit_Set(self, node: ast.Set) -> ast.expr:
        """Replace a bare template: a set in a set, which is no value of Python."""
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:
            word = ast.unparse(inner.elts[0])
            if re.fullmatch(r"[\w.]+", word):
                return _call("__bare__", word, node)
        self.generic_visit(node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        """Replace the known templates of an f-string, where `{{x}}` otherwise is a text `{x}`."""
        for number, part in enumerate(node.values):
            if isinstance(part, ast.FormattedValue):
                self.generic_visit(part)
            elif isinstance(part, ast.Constant) and IN_F_STRING.search(str(part.value)):
                text = IN_F_STRING.sub(r"{{ \1 }}", str(part.value))
                filled = _call("__filled__", text, part)
                value = ast.FormattedValue(filled, conversion=-1)
                node.values[number] = ast.copy_location(value, node)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """Leave the docstring alone."""
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)
        return node


def _call(function: str, word: str, node: ast.expr) -> ast.Call:
    call = ast.parse(f"{function}({word!r}, {node.lineno})", mode="eval").body
    assert isinstance(call, ast.Call)
    for part in ast.walk(call):
        ast.copy_location(part, node)
    return call


def _environment(word: str, where: str) -> str:
    name, colon, default = (part.strip() for part in word.removeprefix("$").partition(":"))
    if name in os.environ:
        return os.environ[name]
    if not colon:
        raise ConfigError(
            f"{where}: expected the environment variable {name!r}, got none. Set it, or write a "
            f"default: {{{{ ${name}:default }}}}."
        )
    return default


def _encoded(text: str) -> str:
    return text.encode().hex()


def _decoded(text: str) -> str:
    return bytes.fromhex(text).decode()
