"""What all tests share; modules they share are in `helpers/`."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from unittest import mock

import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
LONGEST = 1500  # seconds; no test takes as long, not even a slow one on a busy machine


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the recorded inputs and outputs."""
    return GOLDEN


@pytest.fixture(scope="session", autouse=True)
def _no_command_ends_the_process_of_the_tests() -> Iterator[None]:
    """Let a test fail whose command leaves by `os._exit`, which would take all others with it."""
    own, leave = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != own:  # a process that a test has forked
            leave(status)
        raise AssertionError(f"a command left the process of the tests by os._exit({status})")

    with mock.patch.object(os, "_exit", refuse):
        yield


class Watch:
    """Ends a session in which no test has begun or ended for long, and names those that run."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.changed = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.running.add(nodeid)
        self.changed = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.running.discard(nodeid)
        self.changed = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() < self.changed + LONGEST:
            time.sleep(5)
        running = "\n  ".join(sorted(self.running)) or "none"
        print(f"\nNo test ended for {LONGEST} s. Running:\n  {running}", file=sys.__stderr__)
        os._exit(1)


def pytest_configure(config: pytest.Config) -> None:
    """Watch the session, in the process that hears of all tests."""
    if not hasattr(config, "workerinput"):  # pytest-xdist
        config.pluginmanager.register(Watch())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is none."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
