"""Where the files are that a checkout has beside `mmseg`, and what its commands are called.

An installed package carries a copy of these files in `mmseg/shipped`, which is only read. Its
commands are console scripts, which an editable install of a checkout has, too.
"""

import re
import sys
from pathlib import Path, PurePath
from typing import TypeVar

from mmseg.system.errors import PACKAGE

P = TypeVar("P", str, Path)
COPY = PACKAGE / "shipped"  # written by setup.py
SHORTER = {
    "run_seg.py": "preprocess",
    "run_experiments.py": "experiments",
    "test.sh": "test-run",
    "tools/make_demo_data.py": "demo-data",
    "tools/make_depth.py": "depth",
    "tools/publish_checkpoint.py": "publish",
}
SCRIPT = re.compile(
    r"(?<![\w/.-])(torchrun --nproc_per_node \S+ |python |sh )?"
    r"(tools/(?:convert_datasets/)?\w+\.py|run_seg\.py|run_experiments\.py|test\.sh)\b"
)
PAGE = re.compile(r"(?<![\w/.-])(?:docs/\w+|pretrained/README)\.md\b")


def root() -> Path:
    """Return the folder of `configs`, `tools`, …: that of the checkout, or the installed copy."""
    return COPY if COPY.is_dir() else PACKAGE.parent


def find(path: P) -> P | Path:
    """Return the path of a file; if there is none, that of the program's own file of this name."""
    own = root() / path
    return own if not Path(path).exists() and own.is_file() else path


def programs() -> dict[str, Path]:
    """Return the file that each console script runs."""
    folder = root()
    files = [*folder.glob("run_*.py"), *folder.glob("tools/**/*.py"), folder / "test.sh"]
    return {console_name(file.relative_to(folder)): file for file in sorted(files)}


def console_name(file: PurePath) -> str:
    """Return what the console script of a command is called.

    >>> console_name(PurePath("run_seg.py"))
    'cdda-preprocess'
    >>> console_name(PurePath("tools/convert_datasets/gta.py"))
    'cdda-convert-gta'
    """
    kind = "convert_" if file.parent.name == "convert_datasets" else ""
    name = SHORTER.get(file.as_posix(), kind + file.stem)
    return f"cdda-{name.replace('_', '-')}"


def has_console() -> bool:
    """Tell whether commands are called by the names of their console scripts here."""
    started = PurePath("".join(sys.argv[:1]))
    return root() == COPY or started.name.startswith("cdda-")


def command(file: str) -> list[str]:
    """Return the words that start a command from the current folder; `file` as in a checkout."""
    if has_console():
        return [console_name(PurePath(file))]
    path, here = root() / file, Path.cwd().resolve()
    return ["python", str(path.relative_to(here) if path.is_relative_to(here) else path)]


def as_called(text: str) -> str:
    """Return a text for people with the commands as they are called here, and pages to be found.

    In a checkout whose commands are started by `python`, that is the text itself.
    """
    if not has_console():
        return text

    def console(match: re.Match[str]) -> str:
        start = f"{match[1]}--no-python " if (match[1] or "").startswith("torchrun") else ""
        return start + console_name(PurePath(match[2]))

    return PAGE.sub(lambda page: str(root() / page[0]), SCRIPT.sub(console, text))
