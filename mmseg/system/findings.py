"""What pydantic finds wrong in a value, as a sentence."""

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from mmseg.system.errors import nearest

# What is expected, by pydantic's kind of finding. Others speak for themselves.
EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "True or False",
    "string_type": "a string",
    "none_required": "None",
    "dict_type": "a dictionary",
    "list_type": "a list",
    "sequence_str": "a list",
    "callable_type": "a function",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "a string that is not empty",
}
SEQUENCES = ("Sequence", "Iterable", "Collection")


def explain(findings: list[Any], value: Any) -> tuple[str, str]:
    """Return where in a value the mistake is, such as `[1]`, and what was expected and came."""
    findings = _nearest_alternative(findings, value)
    deepest = max((_steps(f["loc"], value) for f in findings), key=len)
    findings = [f for f in findings if _steps(f["loc"], value) == deepest]
    place = ""
    for step in deepest:
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
        value = value[step]
    words = dict.fromkeys(expected_of(finding) for finding in findings)
    choices = [c for f in findings for c in _choices(f)]
    hint = nearest(value, choices) if isinstance(value, str) and choices else ""
    hint = f" {hint[2:3].upper()}{hint[3:]}" if "did you mean" in hint else ""
    got = repr(value) if isinstance(value, str) else reprlib.Repr().repr(value)
    return place, f"expected {' or '.join(words)}, got {got}.{hint}"


def _nearest_alternative(findings: list[Any], value: Any) -> list[Any]:
    """Return the findings of the alternatives of an annotation that are missed the least."""
    alternatives: dict[Any, list[Any]] = {}
    for finding in findings:
        first = finding["loc"][:1]
        alternatives.setdefault(None if _steps(first, value) else first, []).append(finding)
    fewest = min(map(len, alternatives.values()))
    return [f for own in alternatives.values() if len(own) == fewest for f in own]


def _steps(loc: tuple[Any, ...], value: Any) -> list[Any]:
    """Return the part of a finding's place that leads into the value, without names of types."""
    steps: list[Any] = []
    for step in loc:
        is_index = isinstance(value, list | tuple) and isinstance(step, int)
        if is_index or (isinstance(value, Mapping) and step in value):
            steps.append(step)
            value = value[step]
    return steps


def expected_of(finding: Any) -> str:
    """Say what pydantic expected, in a few words."""
    kind, text = finding["type"], finding["msg"].removeprefix("Input should be ")
    if kind == "is_instance_of" and finding["ctx"]["class"] in SEQUENCES:
        return "a list"
    return EXPECTED[kind].format(**finding.get("ctx", {})) if kind in EXPECTED else text


def _choices(finding: Any) -> list[str]:
    if finding["type"] != "literal_error":
        return []
    return re.findall(r"'([^']*)'", finding["ctx"]["expected"])
