"""Read the text of a config that is kept in a file of weights, without executing anything.

Such a text, which this program and mmcv write, assigns plain values to names: numbers, words,
lists, tuples, dictionaries, and `dict(key=value)`.
"""

import ast
from typing import Any

from mmseg.system.errors import ConfigError


def plain_values(text: str, where: str) -> dict[str, Any]:
    """Return the values that a text assigns; `where` names it in the error.

    `ConfigError` for a text of anything else than plain values.

    >>> plain_values("model = dict(type='A', sizes=(1, -2))", "x.pth")
    {'model': {'type': 'A', 'sizes': (1, -2)}}
    """
    try:
        values = {}
        for statement in ast.parse(text).body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise ValueError(f"line {statement.lineno} is no assignment")
            name = ast.unparse(statement.targets[0])
            values[name] = ast.literal_eval(_Plain().visit(statement.value))
        return values
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ConfigError(
            f"expected a config of plain values in {where}, got another text ({error}). Give the "
            "config itself: --config CONFIG."
        ) from error


class _Plain(ast.NodeTransformer):
    """Turns `dict(key=value)` into a dictionary and `float('inf')` into a number."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        kind = node.func.id if isinstance(node.func, ast.Name) else ""
        keys = [keyword.arg for keyword in node.keywords]
        if kind == "dict" and not node.args and None not in keys:
            names: list[ast.expr | None] = [ast.Constant(key) for key in keys]
            return ast.Dict(names, [keyword.value for keyword in node.keywords])
        words = [word.value for word in node.args if isinstance(word, ast.Constant)]
        if kind == "float" and len(words) == len(node.args) == 1 and isinstance(words[0], str):
            return ast.Constant(float(words[0]))
        return node  # which `literal_eval` refuses
