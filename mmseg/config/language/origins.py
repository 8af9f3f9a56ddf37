"""Where the keys of a config were written, for errors and `print_config --origin`."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

import yaml

PARTS_OF_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


class Origin:
    """Where a value was written, `FILE:LINE`, and where the items inside it were."""

    def __init__(self, text: str, inside: dict[Any, "Origin"] | None = None) -> None:
        self.text = text
        self.inside = {} if inside is None else inside

    def at(self, key: Any) -> "Origin":
        """Return where an item was written; what code made stands where its whole does."""
        return self.inside.get(key) or Origin(self.text)


def of_python(module: ast.Module, file: str) -> Origin:
    """Find the lines of the top-level names of a Python file and of the keys in their values."""
    whole = Origin(file)
    for statement in _statements(module.body):
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign):
            targets, value = [statement.target], statement.value
        elif isinstance(statement, ast.AugAssign | ast.For):
            targets, value = [statement.target], None
        else:
            continue
        inside = _inside(value, whole, file) if value else {}
        for target in targets:
            _place(target, Origin(f"{file}:{statement.lineno}", inside), whole)
    return whole


def of_yaml(node: Any, file: str, key_of: Callable[[yaml.Node], Any]) -> Origin:
    """Find the lines of the keys of a YAML (or JSON) file; `key_of` gives the value of a node."""
    seen: dict[int, dict[Any, Origin]] = {}  # aliases name one node in many places

    def inside(node: yaml.Node) -> dict[Any, Origin]:
        if id(node) in seen:
            return seen[id(node)]
        items: list[tuple[Any, yaml.Node, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            items = [(key_of(key), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            items = [(number, value, value) for number, value in enumerate(node.value)]
        found = {
            key: Origin(f"{file}:{at.start_mark.line + 1}", inside(value))
            for key, at, value in items
        }
        return seen.setdefault(id(node), found)

    return Origin(file, inside(node))


def _statements(body: list[Any]) -> Iterator[ast.stmt]:
    """Yield the statements that run when the file does, also those in blocks."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for part in PARTS_OF_BLOCKS:
            yield from _statements(getattr(statement, part, []))


def _place(target: ast.expr, origin: Origin, whole: Origin) -> None:
    """Note the origin of an assigned name, of every name of a tuple, or of `name['key']`."""
    if isinstance(target, ast.Tuple | ast.List):
        for name in target.elts:
            _place(name, Origin(origin.text), whole)
    elif isinstance(target, ast.Name):
        whole.inside[target.id] = origin
    elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        parent = _named(target.value, whole)
        if parent is not None:
            parent.inside[target.slice.value] = origin


def _named(node: ast.expr, whole: Origin) -> Origin | None:
    """Return the origin of what `name` or `name['key']` stands for."""
    if isinstance(node, ast.Name):
        return whole.inside.get(node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        parent = _named(node.value, whole)
        return parent and parent.inside.get(node.slice.value)
    return None


def _inside(value: ast.expr, whole: Origin, file: str) -> dict[Any, Origin]:
    """Return the origins of the items of a dict, list or tuple as it is written in the file."""
    named = _named(value, whole)
    if named is not None:
        return named.inside
    found: dict[Any, Origin] = {}
    for key, at, item in _items(value):
        inside = _inside(item, whole, file)
        found.update(inside if key is None else {key: Origin(f"{file}:{at.lineno}", inside)})
    return found


def _items(value: ast.expr) -> Iterator[tuple[Any, Any, ast.expr]]:
    """Yield key, node with the line, and value; the key of `**other` is None."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        yield from ((None, other, other) for other in value.args)
        yield from ((keyword.arg, keyword, keyword.value) for keyword in value.keywords)
    elif isinstance(value, ast.Dict):
        for key, item in zip(value.keys, value.values, strict=True):
            if key is None or isinstance(key, ast.Constant):
                yield key and key.value, key, item
    elif isinstance(value, ast.List | ast.Tuple):
        for number, item in enumerate(value.elts):
            if isinstance(item, ast.Starred):
                return  # how many items it stands for is not written
            yield number, item, item
