"""What console scripts start: the file of the command, as `python FILE` would."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from mmseg.system import shipped
from mmseg.system.errors import nearest


def main() -> None:
    """Run the command that has the name of this program, and end with its exit status."""
    name = Path(sys.argv[0]).stem  # Windows adds .exe
    programs = shipped.programs()
    if name not in programs:
        sys.exit(f"expected the name of a command, got {name!r}{nearest(name, programs)}")
    file = programs[name]
    if file.suffix == ".sh":
        environment = {**os.environ, "PYTHON": sys.executable}
        sys.exit(subprocess.call(["sh", str(file), *sys.argv[1:]], env=environment))
    sys.path.insert(0, str(file.parent))
    # Workers that are started anew import the file of `__main__`. Unlike `runpy.run_path`, this
    # keeps the name of the program in `sys.argv`.
    program = ModuleType("__main__")
    program.__file__ = str(file)
    sys.modules["__main__"] = program
    exec(compile(file.read_bytes(), str(file), "exec"), vars(program))
