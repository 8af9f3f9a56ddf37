"""Nothing waits forever for another process of the run: killed, stopped, busy, or never started.

Two forked processes meet; one of them is struck where the other waits for it.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from patience import PATIENCE, until

from mmseg.system import processes, waiting
from mmseg.system.files import is_stopped
from mmseg.system.interruption import EXIT_STATUS
from mmseg.system.waiting import beat, set_patience

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
WAITED = "has waited 1 seconds for the other processes, while no process moved"
WAITS: dict[str, Callable[[], object]] = {
    "a sum": lambda: processes.all_reduce_sum(torch.ones(3)),
    "a flag": lambda: processes.any_process(False),
    "a decision": lambda: processes.broadcast_object("x"),
    "all objects": lambda: processes.gather_objects("x"),
    "weights": lambda: processes.broadcast_module(torch.nn.Linear(3, 2)),
    "buffers": lambda: processes.broadcast_buffers(torch.nn.BatchNorm1d(3)),
    "a barrier": processes.barrier,
}


class Pair:
    """Two processes that write what they say into `<rank>.txt`, and how they ended."""

    def __init__(self, folder: Path, act: Callable[[int], object], ranks: tuple[int, ...]) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        self.ranks = {
            rank: fork.Process(target=self._run, args=(act, rank, port)) for rank in ranks
        }
        for process in self.ranks.values():
            process.start()

    def _run(self, act: Callable[[int], object], rank: int, port: int) -> None:
        said = os.open(self.folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: PTH123, SIM115  # pytest has its own
        torch.set_num_threads(1)
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        set_patience(1)
        waiting.SHARE_SECONDS = 0.3
        try:
            processes.init_from_environment()
            (self.folder / f"{rank}.met").touch()
            act(rank)
            processes.shut_down()
        except processes.ProcessGroupError as error:
            sys.stderr.write(str(error))
            sys.stderr.flush()
            os._exit(3)

    def met(self) -> bool:
        return all((self.folder / f"{rank}.met").exists() for rank in self.ranks)

    def strike(self, rank: int, number: int) -> None:
        until(self.met)
        os.kill(self.number(rank), number)
        if number == signal.SIGSTOP:
            until(lambda: is_stopped(self.number(rank)))
        (self.folder / "struck").touch()

    def number(self, rank: int) -> int:
        number = self.ranks[rank].pid
        assert number is not None
        return number

    def ends(self, rank: int) -> tuple[int | None, str]:
        self.ranks[rank].join(PATIENCE)
        return self.ranks[rank].exitcode, (self.folder / f"{rank}.txt").read_text()


@pytest.fixture
def start(tmp_path: Path):
    """Start processes that are gone at the end of the test, whatever happens."""
    pairs: list[Pair] = []

    def start_pair(act: Callable[[int], object], ranks: tuple[int, ...] = (0, 1)) -> Pair:
        pairs.append(Pair(tmp_path, act, ranks))
        return pairs[-1]

    yield start_pair
    for process in [process for pair in pairs for process in pair.ranks.values()]:
        process.kill()
        process.join()


def wait_after_strike(folder: Path, struck: int, wait: Callable[[], object]) -> Callable[..., None]:
    """Return what one process waits for, while the other one is struck before."""

    def act(rank: int) -> None:
        if rank == struck:
            time.sleep(PATIENCE)  # it ends in this line, or hangs in it
        until((folder / "struck").exists)
        wait()

    return act


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_every_wait_for_a_process_that_is_gone_or_stopped_ends(
    start, tmp_path: Path, wait: Callable[[], object], number: int
) -> None:
    pair = start(wait_after_strike(tmp_path, 1, wait))
    pair.strike(1, number)
    status, said = pair.ends(0)
    if number == signal.SIGKILL:
        assert (status, "Process 0 of 2: another process has ended or hangs" in said) == (3, True)
    else:
        assert status == 1
        assert f"Process 0 of 2 {WAITED}" in said
        assert "Process 0 of 2 is here:\n" in said
        assert "until((folder" not in said
        assert "wait()" in said


def test_a_stopped_process_that_holds_the_store_is_noticed_too(start, tmp_path: Path) -> None:
    pair = start(wait_after_strike(tmp_path, 0, processes.barrier))
    pair.strike(0, signal.SIGSTOP)
    status, said = pair.ends(1)
    assert (status, f"Process 1 of 2 {WAITED}" in said) == (1, True)


def test_a_process_that_hangs_says_where_and_ends_with_the_others(start, tmp_path: Path) -> None:
    pair = start(wait_after_strike(tmp_path, 1, processes.barrier))
    (tmp_path / "struck").touch()  # by nothing: it sleeps
    assert pair.ends(0)[0] in (1, 3)  # by itself, or because the other one has ended
    assert pair.ends(1)[0] == 1
    assert "Process 1 of 2 is here:\n" in pair.ends(1)[1]
    assert "time.sleep(PATIENCE)  # it ends in this line" in pair.ends(1)[1]
    assert f"Process 0 of 2 {WAITED}" in pair.ends(1)[1]  # who waits, in both


def test_a_process_that_shows_that_it_goes_on_is_waited_for(start) -> None:
    def act(rank: int) -> None:
        for _ in range(16 * rank):
            time.sleep(0.5)
            beat("writing a large file")
        processes.barrier()

    pair = start(act)
    assert [pair.ends(rank) for rank in (0, 1)] == [(0, ""), (0, "")]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_never_starts_is_a_sentence(start, rank: int) -> None:
    status, said = start(lambda rank: None, (rank,)).ends(rank)
    assert status == 3
    sentence = f"Process {rank} of 2: not all 2 processes have started within 1 seconds (max_wait)"
    assert sentence in said


def test_a_signal_ends_the_wait_for_a_process_that_never_starts(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "patience", lambda: PATIENCE)
    pair = start(lambda rank: None, (0,))
    until(lambda: waits_in_the_store(pair.number(0)))
    os.kill(pair.number(0), signal.SIGTERM)
    sentence = "SIGTERM ended the command while it waited for all 2 processes to start.\n"
    assert pair.ends(0) == (EXIT_STATUS, sentence)


def waits_in_the_store(process: int) -> bool:
    """Tell whether a process has begun to wait: its store has a thread."""
    names = [file.read_text() for file in Path(f"/proc/{process}/task").glob("*/comm")]
    return any("tcpstore" in name for name in names)
