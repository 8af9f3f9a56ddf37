"""The house stands as it was drawn: imports run downward, files and functions stay short."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "mmseg").rglob("*.py"))
NAMES = [
    ".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in FILES
]
MODULES = dict(zip(NAMES, FILES, strict=True))
MAX_FILE, MAX_FUNCTION = 300, 40
# The floors of the house, from the top down: imports run downward, also inside of functions, and
# the folders of one floor do not know each other.
FLOORS = (
    {"cli"},
    {"apis"},
    {"engine", "preprocessing"},
    {"models", "ops", "visualization"},
    {"datasets"},
    {"evaluation"},
    {"config"},
    {"system"},
)
NOT_IN_MODELS = ["matplotlib", "PIL", "cv2", "logging", "tqdm"]
# The one import from outside of the package: `run_experiments.py --exp` reads the tables.
FROM_OUTSIDE = {("mmseg.cli.training", "experiments")}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports(name: str, at_start_only: bool = False) -> Iterator[str]:
    """Yield what a module imports, `from package import module` as `package.module`.

    Args:
        name: of the module.
        at_start_only: leave out what functions import when they are called.
    """
    nodes = list(tree(name).body) if at_start_only else list(ast.walk(tree(name)))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            yield from sorted(m if m in MODULES else module for m in inner)


def parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def is_inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def folder(name: str) -> str | None:
    """Return which folder of the package a module lies in."""
    package, _, rest = name.partition(".")
    return rest.partition(".")[0] if package == "mmseg" and rest else None


def test_every_module_stands_on_a_floor() -> None:
    assert {folder(name) for name in MODULES} == {None, *set().union(*FLOORS)}


def test_imports_run_downward() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = []
    for name in MODULES:
        for imported in imports(name):
            above, below = folder(name), folder(imported)
            if above is None or below is None or above == below:
                continue
            if floor[above] >= floor[below]:
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_the_drawn_scenes_know_nothing_of_the_package() -> None:
    for path in (ROOT / "demo").glob("*.py"):
        assert "mmseg" not in re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.M), path


def test_networks_know_no_pictures_and_no_log() -> None:
    for name in filter(lambda name: folder(name) == "models", MODULES):
        assert not {m.partition(".")[0] for m in imports(name)} & set(NOT_IN_MODELS), name


def test_the_package_imports_no_command() -> None:
    commands = {path.stem for path in ROOT.glob("*.py")} | {"tools", "benchmarks", "tests"}
    found = {(n, m) for n in MODULES for m in imports(n) if m.split(".")[0] in commands}
    assert found <= FROM_OUTSIDE


def test_every_module_can_be_imported_first() -> None:
    """No module needs, while it is being imported, one that needs it.

    Importing `a.b` runs `a` before. That is a need of `a` as well, except for the modules in `a`.
    """
    needs = {}
    for name in MODULES:
        direct = {m for m in imports(name, at_start_only=True) if m in MODULES}
        implied = {p for m in direct for p in parents(m)} - parents(name) - {name}
        needs[name] = (direct | implied) - {name}
    done: set[str] = set()
    while ready := {n for n in MODULES if n not in done and needs[n] <= done}:
        done |= ready
    assert done == set(MODULES), {n: sorted(needs[n] - done) for n in MODULES if n not in done}


def test_files_are_short_or_say_why_not() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        is_short = len(text.splitlines()) <= MAX_FILE
        assert is_short or re.search(rf"[Ll]onger than {MAX_FILE} lines because", text), path


def test_functions_are_short() -> None:
    """Without their docstring."""
    long = []
    for name in MODULES:
        for node in ast.walk(tree(name)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body and node.end_lineno else 0
            if length > MAX_FUNCTION:
                long.append(f"{name}.{node.name}: {length} lines")
    assert not long


def test_every_folder_of_modules_is_a_package_and_every_module_says_what_it_is() -> None:
    for name, path in MODULES.items():
        assert (path.parent / "__init__.py").is_file(), path.parent
        assert ast.get_docstring(tree(name)), path


def test_nothing_is_printed_and_no_error_swallowed() -> None:
    wrong = []
    for name in MODULES:
        for node in ast.walk(tree(name)):
            is_print = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
            if is_print or (isinstance(node, ast.ExceptHandler) and node.type is None):
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong


@pytest.mark.parametrize("text", [r"\.cuda\(\)", "empty_cache", r"os\.path\b", r"\n *global "])
def test_no_module_uses(text: str) -> None:
    assert not [n for n, f in MODULES.items() if re.search(text, f.read_text(encoding="utf-8"))]
