"""Every launcher's way to say who a process is, a real start, and the death of a process."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from patience import PATIENCE, until

from mmseg.system import processes
from mmseg.system.launchers import (
    SLURM_CALLER,
    SLURM_HOSTS,
    SLURM_VARIABLES,
    VARIABLES,
    LauncherError,
    Place,
    find_place,
    first_host,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import tiny_run  # noqa: E402

from tools import train as train_tool  # noqa: E402

MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234"}
SECOND = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **MEETING}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of a launcher, before and after."""
    names = (*VARIABLES, *SLURM_VARIABLES.values(), *SLURM_HOSTS, SLURM_CALLER, "SLURM_JOB_ID")
    before = dict(os.environ)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]  # what find_place has set


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_one_process_needs_no_launcher() -> None:
    assert find_place() is None
    assert find_place("none", None) is None
    assert processes.init_from_environment().type in ("cpu", "cuda")
    assert (processes.rank(), processes.world_size(), processes.is_main()) == (0, 1, True)


def test_variables_of_torchrun_are_read_with_and_without_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, SECOND)
    assert find_place() == find_place("pytorch") == Place(rank=1, world_size=2, local_rank=1)


def test_old_spelling_gives_the_local_rank_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, {"RANK": "5", "WORLD_SIZE": "8", **MEETING})
    assert find_place("pytorch", 1) == Place(rank=5, world_size=8, local_rank=1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert find_place("pytorch", 1) == Place(rank=5, world_size=8, local_rank=1)
    with pytest.raises(LauncherError, match="--local_rank 1, the value of .* LOCAL_RANK, got 3"):
        find_place("pytorch", 3)


@pytest.mark.parametrize(("launcher", "local_rank"), [("pytorch", None), ("none", 0)])
def test_a_launcher_without_its_variables_does_not_silently_train_alone(
    launcher: str, local_rank: int | None
) -> None:
    with pytest.raises(LauncherError, match="torchrun --nproc_per_node NUMBER_OF_GPUS tools/train"):
        find_place(launcher, local_rank)


def test_slurm_tasks_find_their_place_and_the_host_of_task_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = {"SLURM_PROCID": "6", "SLURM_NTASKS": "8", "SLURM_LOCALID": "2", "SLURM_JOB_ID": "71234"}
    set_variables(monkeypatch, {**task, "SLURM_STEP_NODELIST": "gpu[07-08]"})
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1")  # of a login node
    assert find_place("slurm") == Place(rank=6, world_size=8, local_rank=2)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", "21234")


def test_slurm_takes_what_the_user_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"})
    set_variables(monkeypatch, {"MASTER_ADDR": "head", "MASTER_PORT": "29999"})
    assert find_place("slurm") == Place(rank=0, world_size=2, local_rank=0)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("head", "29999")


def test_slurm_without_a_list_of_nodes_meets_where_srun_was_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"})
    with pytest.raises(LauncherError, match="SLURM_STEP_NODELIST.* or set MASTER_ADDR"):
        find_place("slurm")
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1")
    find_place("slurm")
    assert os.environ["MASTER_ADDR"] == "10.0.0.1"


def test_slurm_needs_srun() -> None:
    with pytest.raises(LauncherError, match="SLURM_PROCID .* start the run with srun"):
        find_place("slurm")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("gpu[007-009,012],other", "gpu007"),
        ("gpu[3,5-7]-ib", "gpu3-ib"),
        ("rack[1-2]node[4-5]", "rack1node4"),
        ("a-1.cluster,a-2.cluster", "a-1.cluster"),
    ],
)
def test_first_host_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "got RANK without WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        ({**SECOND, "RANK": "2"}, "expected 0 <= RANK, LOCAL_RANK < WORLD_SIZE, got RANK=2"),
        ({**SECOND, "LOCAL_RANK": "2"}, "got RANK=1, LOCAL_RANK=2, WORLD_SIZE=2"),
        ({**SECOND, "RANK": "one"}, "expected whole numbers, got .*'one'"),
    ],
)
def test_contradicting_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    set_variables(monkeypatch, variables)
    with pytest.raises(LauncherError, match=message):
        processes.init_from_environment()


def test_unknown_launcher_is_refused() -> None:
    with pytest.raises(LauncherError, match="among none, pytorch, slurm, got 'mpi'"):
        find_place("mpi")


# GPUs


def start_on_gpus(monkeypatch: pytest.MonkeyPatch, rank: int, seen: list[list[str]]) -> Any:
    """Return the device of one process of a run on one machine.

    Args:
        monkeypatch: pretends the GPUs and the other processes.
        rank: of the process.
        seen: for each process the GPUs that it sees.
    """

    def gpu_of(other: int) -> str:
        return seen[other][0 if len(seen[other]) == 1 else other]

    set_variables(monkeypatch, {**SECOND, "RANK": str(rank), "LOCAL_RANK": str(rank)})
    monkeypatch.setenv("WORLD_SIZE", str(len(seen)))
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: len(seen[rank]),
        "set_device": lambda device: None,
        "get_device_properties": lambda device: SimpleNamespace(uuid=seen[rank][device.index]),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(processes, "_meet", lambda *place: None)

    def gather(own: tuple[str, str]) -> list[tuple[str, str]]:
        assert own == ("host", gpu_of(rank))
        return [("host", gpu_of(other)) for other in range(len(seen))]

    monkeypatch.setattr(processes.socket, "gethostname", lambda: "host")
    monkeypatch.setattr(processes, "gather_objects", gather)
    return processes.init_from_environment("pytorch")


@pytest.mark.parametrize(
    ("seen", "indices"),
    [
        ([["a", "b", "c", "d"]] * 3, [0, 1, 2]),  # torchrun
        ([["a"], ["b"], ["c"], ["d"]], [0, 0, 0, 0]),  # a launcher that gives each its own
    ],
)
def test_each_process_takes_its_own_gpu_of_those_that_it_sees(
    monkeypatch: pytest.MonkeyPatch, seen: list[list[str]], indices: list[int]
) -> None:
    devices = [start_on_gpus(monkeypatch, rank, seen) for rank in range(len(seen))]
    assert devices == [torch.device("cuda", index) for index in indices]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each sees a single one, all of them learn from the others that it is the same."""
    for rank in range(2):
        message = "expected one GPU per process, got one for the processes 0, 1 on the machine host"
        with pytest.raises(LauncherError, match=message):
            start_on_gpus(monkeypatch, rank, [["a"], ["a"], ["b"]])
    message = "expected one GPU per process, got LOCAL_RANK=2 on a machine with 2 GPUs; start at"
    with pytest.raises(LauncherError, match=message):
        start_on_gpus(monkeypatch, 2, [["a", "b"]] * 3)


def test_a_full_memory_is_not_taken_for_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL needs memory of the GPU for itself."""

    def fail(*arguments: Any) -> None:
        raise processes.dist.DistBackendError("NCCL error: Cuda failure 2 'out of memory'")

    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes.dist, "all_reduce", fail)
    with pytest.raises(processes.dist.DistBackendError, match="out of memory"):
        processes.all_reduce_sum(torch.ones(1))


# Whole commands


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a config."""
    root = tmp_path_factory.mktemp("launched")
    tiny_run.write_pictures(root)
    uda = {"type": "DACS", "source_only": True}
    tiny_run.write_config(root / "config.py", tiny_run.config(root, uda=uda, n_gpus=1))
    return root


def command(project: Path, *options: str) -> list[str]:
    work_dir = str(project / "run")
    return ["tools/train.py", str(project / "config.py"), "--work-dir", work_dir, *options]


def environment(**variables: Any) -> dict[str, str]:
    own = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **own, **{key: str(value) for key, value in variables.items()}}


def test_torchrun_starts_one_run_of_two_processes(project: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, *command(project, "--launcher", "pytorch")],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (log,) = (project / "run").glob("*.log")
    text = log.read_text()
    assert "2 process(es)" in text
    assert "n_gpus=1, but 2 process(es) run: a batch is 2 x 2 = 4 images" in text
    assert text.count("Iter [2/2]") == 1
    assert torch.load(project / "run/latest.pth", weights_only=True)["iteration"] == 2


def test_a_launcher_without_its_variables_ends_the_command_with_a_sentence(project: Path) -> None:
    arguments = command(project, "--launcher", "pytorch")[1:]
    with pytest.raises(SystemExit, match="^LauncherError: expected the variables RANK, WORLD_SIZE"):
        train_tool.main(arguments)


@pytest.mark.parametrize(
    ("struck", "sentence"),
    [
        (signal.SIGKILL, "ProcessGroupError: Process 0 of 2: another process has ended or hangs"),
        (signal.SIGSTOP, "Process 0 of 2 has waited 5 seconds for the other processes"),
    ],
)
def test_a_lost_process_ends_the_other_with_a_sentence(
    project: Path, tmp_path: Path, struck: int, sentence: str
) -> None:
    """Without a launcher that could notice: the survivor has to notice by itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (
        "--work-dir",
        str(tmp_path / "run"),
        "--cfg-options",
        "runner.max_iters=100000",
        "max_wait=5",
    )
    said = tmp_path / "stderr.txt"
    with said.open("w") as stream:
        processes = [
            subprocess.Popen(
                [sys.executable, *command(project, *options)],
                cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stream if rank == 0 else None,
                env=environment(
                    RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2,
                    MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
                ),
            )
            for rank in range(2)
        ]  # fmt: skip
    try:
        until(lambda: has_iterations(tmp_path / "run"))
        processes[1].send_signal(struck)
        assert processes[0].wait(timeout=PATIENCE) == 1
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert sentence in said.read_text()
    assert "start again with --resume auto" in said.read_text()
    assert "Traceback" not in said.read_text()


FULL = """
import os

from mmseg.engine.updates import Updates

after = Updates.after


def fill(updates, iteration):
    if os.environ["RANK"] == "1" and iteration == 1:
        raise RuntimeError("CUDA error: out of memory")
    return after(updates, iteration)


Updates.after = fill
"""


def test_a_full_memory_of_one_process_ends_all_of_them(project: Path, tmp_path: Path) -> None:
    """One says what needs less memory, the other where to look."""
    (tmp_path / "full.py").write_text(FULL)
    config = project / "full.py"
    config.write_text("_base_ = 'config.py'\ncustom_imports = dict(imports=['full'])\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}
    train = ["tools/train.py", str(config), "--work-dir", str(tmp_path / "run"), "--no-validate"]
    processes = [
        subprocess.Popen(
            [sys.executable, *train], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
            env=environment(
                RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, PYTHONPATH=tmp_path, **meeting
            ),
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [1, 1]
    assert "ProcessGroupError: Process 0 of 2: another process has ended or hangs" in said[0]
    assert "FullMemoryError: expected a training step of 2 sample(s) of 64x64 pixels" in said[1]
    advice = "add --cfg-options model.backbone.with_cp=True (the same numbers, more time; with "
    assert f"got: CUDA error: out of memory; {advice}" in said[1]
    assert ", or --amp bf16 (half precision; with --resume auto the run goes on)" in said[1]
    assert "Traceback" not in said[0] + said[1]


def has_iterations(work_dir: Path) -> bool:
    """Tell whether a run has logged a few iterations."""
    return any(b"Iter [3/" in log.read_bytes() for log in work_dir.glob("*.log"))
