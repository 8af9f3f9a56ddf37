"""Run preprocessing commands as processes of their own without paying for their imports each time.

`CommandServer` starts one Python that imports everything and forks it for every command. Further
modules that the commands need are named: `CommandServer(out, "transformers")`.

    with CommandServer(out=tmp_path) as server:
        held = server.start([str(ROOT / "run_seg.py"), "--num", "60"], hold=("crops", 9))
        until(lambda: ...)                   # nine pictures are there; it waits before the next
        held.kill()                          # SIGKILL to the main process alone
        held.signal(signal.SIGTERM)          # or to its whole group, as schedulers do,
        held.release()                       # and let it go on
        status, text = held.wait()
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from patience import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """One running command."""

    def __init__(self, server: "CommandServer", pid: int, output: Path) -> None:
        self.server, self.pid, self.output = server, pid, output

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def release(self) -> None:
        """Let a held command go on."""
        _released(str(self.output)).touch()

    def wait(self) -> tuple[int, str]:
        """Return the exit status (negative: the signal) and what the command said."""
        code = self.server.ask({"wait": self.pid})
        return os.waitstatus_to_exitcode(code), self.output.read_text()

    def wait_for_group(self) -> None:
        """Wait until no process of the command is left."""
        until(lambda: not self.running())

    def running(self) -> list[int]:
        """Return the processes of the command that have not ended."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):  # it ended meanwhile
                continue
            if int(group) == self.pid and state not in "ZX":
                found.append(int(stat.parent.name))
        return found


class CommandServer:
    """See the module."""

    def __init__(self, out: Path, *modules: str) -> None:
        self.out = out
        self.modules = modules
        self.count = 0

    def __enter__(self) -> "CommandServer":
        self.process = subprocess.Popen(
            [sys.executable, __file__, *self.modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def start(self, arguments: list[str], **options: object) -> Command:
        """Start `python ARGUMENTS`.

        Args:
            arguments: script and options.
            **options: `hold`, a folder and a number: while so many PNG files are in the folder, no
                file that was written gets its name, until the command is released;
                `holds_bank`: the same once the bank is written; `file_size`, the largest file that
                may be written, in bytes; `environment`, a dict of variables; `folder` to run in.
        """
        self.count += 1
        output = self.out / f"command_{self.count}.txt"
        output.touch()  # a command that is killed at once has not opened it yet
        order = {"start": arguments, "output": str(output), **options}
        return Command(self, self.ask(order), output)

    def ask(self, order: dict[str, object]) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def _serve() -> None:
    sys.path.insert(0, str(ROOT))
    import torch

    import mmseg.preprocessing.label_conversion
    import mmseg.preprocessing.preprocess  # noqa: F401

    for module in sys.argv[1:]:
        importlib.import_module(module)
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitpid(order["wait"], 0)[1]
        else:
            answer = os.fork()
            if answer == 0:
                _run(order)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _run(order: dict) -> None:
    """Become the command; its workers begin as copies of it, with all that is changed here."""
    import multiprocessing
    import runpy

    multiprocessing.set_start_method("fork", force=True)
    os.setpgid(0, 0)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(order.get("environment", {}))
    os.chdir(order.get("folder", "."))
    _hold(order)
    sys.argv = order["start"]
    status: object = "traceback"
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        if status == "traceback":
            traceback.print_exc()
        elif isinstance(status, str):
            sys.stderr.write(status + "\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _released(output: str) -> Path:
    """Return the file that lets a command go on."""
    return Path(f"{output}.go")


def _hold(order: dict) -> None:
    import resource

    import torch

    import mmseg.system.files

    save, replace = torch.save, mmseg.system.files.Path.replace
    folder, number = order.get("hold", ("no such folder", 1))

    def wait_while(is_held):
        while is_held() and not _released(order["output"]).exists():
            time.sleep(0.002)

    def held_save(content, file):
        save(content, file)
        file.flush()
        wait_while(lambda: "holds_bank" in order)

    def held_replace(self, target):
        wait_while(lambda: len(list(Path(folder).glob("[!.]*.png"))) >= number)
        return replace(self, target)

    torch.save = held_save
    mmseg.system.files.Path.replace = held_replace
    if "file_size" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"],) * 2)


if __name__ == "__main__":
    _serve()
