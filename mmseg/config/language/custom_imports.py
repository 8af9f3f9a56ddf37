"""Import the modules that a config names, or say what they have to import instead."""

import ast
import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from mmseg.config.language.config_dict import ConfigDict
from mmseg.config.language.new_places import new_place
from mmseg.system.errors import ConfigError

CUSTOM_IMPORTS = "custom_imports"


def import_custom_modules(cfg: ConfigDict) -> None:
    """Import what `custom_imports` names, so that it registers classes of the user's own.

    `ImportError` says which names have which new place, unless `allow_failed_imports` makes it a
    warning; `ConfigError` if the section names no modules.
    """
    custom = cfg.get(CUSTOM_IMPORTS)
    if not custom:
        return
    where = cfg.origins.get(CUSTOM_IMPORTS, "the config")
    names = custom.get("imports") if isinstance(custom, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{where}: expected the names of modules, got {custom!r}. Write custom_imports = "
            "dict(imports=['my_module'])."
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            sentence = f"{where}: {_explained(name, error)}"
            if not custom.get("allow_failed_imports", False):
                raise ImportError(sentence) from error
            warnings.warn(sentence, stacklevel=2)


def _explained(name: str, error: ImportError) -> str:
    """Return the sentence about a module that cannot be imported."""
    expected = f"expected modules that can be imported in custom_imports, got {name!r}"
    frame, line = _failing_line(error)
    if frame is None:
        return f"{expected} ({error}). Put its folder on PYTHONPATH, or correct the name."
    file = Path(frame.f_code.co_filename)
    replaced = list(_replaced_imports(file, frame.f_globals.get("__package__") or ""))
    if not replaced:
        return (
            f"{expected}, and line {line} of '{file}' fails ({error}). Install what it imports, or "
            "correct that line."
        )
    changes = ", ".join(f"{new} instead of {old} (line {line})" for line, old, new in replaced)
    return (
        f"{expected}, and '{file}' imports what is not here. Use {changes}. A table in "
        "docs/differences.md has all such names."
    )


def _failing_line(error: ImportError) -> tuple[FrameType | None, int]:
    """Return the frame and the line of the module that failed; no frame if none was found."""
    frame, line, trace = None, 0, error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__"))
        if name != __name__ and name.partition(".")[0] != "importlib":
            frame, line = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return frame, line


def _replaced_imports(file: Path, package: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, old and new name of what a file of `package` imports and is not here.

    A file that tries an import may do without it.
    """
    if file.suffix != ".py" or not file.is_file():  # compiled, or made by code
        return
    nodes = list(ast.walk(ast.parse(file.read_bytes())))
    tried = {id(n) for node in nodes if isinstance(node, ast.Try) for n in ast.walk(node)}
    for node in nodes:
        for old in _imported(node, package) if id(node) not in tried else ():
            new = new_place(old)
            if new is not None and not _is_here(old):
                yield getattr(node, "lineno", 0), old, new


def _imported(node: Any, package: str) -> list[str]:
    """Return the full names that an import statement of a module of `package` binds."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")
    around = parents[: len(parents) - node.level + 1] if node.level else []
    module = ".".join([*around, *([node.module] if node.module else [])])
    return [f"{module}.{alias.name}" for alias in node.names]


def _is_here(name: str) -> bool:
    """Tell whether a name can be imported, as a module or from one."""
    module, _, attribute = name.rpartition(".")
    with suppress(ImportError):
        importlib.import_module(name)
        return True
    with suppress(ImportError):
        return bool(module) and hasattr(importlib.import_module(module), attribute)
    return False
