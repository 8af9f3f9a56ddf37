"""Learn from a launcher which process of a run this is.

`torchrun`, `python -m torch.distributed.launch` and `accelerate launch` set the variables below
for every process; those of SLURM's `srun` replace missing ones.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SLURM_VARIABLES = {
    "RANK": "SLURM_PROCID",
    "WORLD_SIZE": "SLURM_NTASKS",
    "LOCAL_RANK": "SLURM_LOCALID",
}
# Task 0 runs on the first host of the step. The node that called srun may be a login node.
SLURM_HOSTS = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
SLURM_CALLER = "SLURM_LAUNCH_NODE_IPADDR"
LAUNCHERS = ("none", "pytorch", "slurm")
HINT = "Start the processes with torchrun, or unset these variables for a run of one process."
START = "torchrun --nproc_per_node NUMBER_OF_GPUS tools/train.py CONFIG --launcher pytorch"


class LauncherError(ValueError):
    """The launcher's variables are incomplete, contradictory, or do not fit the machine."""


@dataclass(frozen=True)
class Place:
    """The place of a process among those of its run."""

    rank: int
    world_size: int
    local_rank: int  # among those on the same machine; the number of its GPU


def find_place(launcher: str = "none", local_rank: int | None = None) -> Place | None:
    """Return the place of this process, or None for a run of one process.

    'slurm' also reads SLURM's own variables and sets those of torchrun from them; 'pytorch'
    requires variables; 'none' uses them if they are there. `local_rank` is the `--local_rank`
    passed by `torch.distributed.launch`. `LauncherError` if the variables are incomplete or
    contradict each other or the option.
    """
    if launcher not in LAUNCHERS:
        raise LauncherError(f"expected a launcher among {', '.join(LAUNCHERS)}, got {launcher!r}.")
    if launcher == "slurm":
        os.environ.update(_from_slurm(os.environ))
    found = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if "RANK" not in found and "WORLD_SIZE" not in found:
        if launcher == "pytorch" or local_rank is not None:
            option = "--launcher pytorch" if launcher == "pytorch" else f"--local_rank {local_rank}"
            raise LauncherError(
                f"expected the variables {', '.join(VARIABLES)} under {option}, got none of them; "
                f"start the run with: {START} (or leave the option out for one process)."
            )
        return None
    own = str(local_rank)
    if local_rank is not None and found.setdefault("LOCAL_RANK", own) != own:
        raise LauncherError(
            f"expected --local_rank {found['LOCAL_RANK']}, the value of the variable LOCAL_RANK, "
            f"got {local_rank}; leave the option out."
        )
    return _read_place(found)


def first_host(node_list: str) -> str:
    """Return the first host of a SLURM list of nodes.

    >>> first_host("gpu[007-009,12],login1"), first_host("a-1,a-2"), first_host("r[1-2]n[3,5]-ib")
    ('gpu007', 'a-1', 'r1n3-ib')
    """
    first = re.split(r",(?![^\[]*\])", node_list)[0]  # a comma outside brackets
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


def _from_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Return torchrun's variables that are missing, made from SLURM's."""
    made = {}
    for name, slurm_name in SLURM_VARIABLES.items():
        if name in environment:
            continue
        if slurm_name not in environment:
            raise LauncherError(
                f"expected the variable {slurm_name} under --launcher slurm, got none; "
                "start the run with srun."
            )
        made[name] = environment[slurm_name]
    if "MASTER_ADDR" not in environment:
        made["MASTER_ADDR"] = _slurm_master(environment)
    # Two jobs that share a node must not meet at one port.
    job = environment.get("SLURM_JOB_ID", "0")
    made["MASTER_PORT"] = environment.get("MASTER_PORT", str(20_000 + int(job) % 10_000))
    return made


def _slurm_master(environment: Mapping[str, str]) -> str:
    for name in SLURM_HOSTS:
        if environment.get(name):
            return first_host(environment[name])
    if SLURM_CALLER in environment:
        return environment[SLURM_CALLER]
    raise LauncherError(
        f"expected one of the variables {', '.join(SLURM_HOSTS)} under --launcher slurm, got none; "
        "start the run with srun, or set MASTER_ADDR to the host of task 0."
    )


def _read_place(found: Mapping[str, str]) -> Place:
    missing = [name for name in VARIABLES if name not in found]
    if missing:
        raise LauncherError(
            f"expected the variables {', '.join(VARIABLES)} together, got "
            f"{', '.join(found)} without {', '.join(missing)}. {HINT}"
        )
    try:
        place = Place(int(found["RANK"]), int(found["WORLD_SIZE"]), int(found["LOCAL_RANK"]))
        int(found["MASTER_PORT"])
    except ValueError as error:
        raise LauncherError(
            f"expected whole numbers, got {dict(found)}: {error}. {HINT}"
        ) from error
    if not 0 <= place.rank < place.world_size or not 0 <= place.local_rank < place.world_size:
        raise LauncherError(
            f"expected 0 <= RANK, LOCAL_RANK < WORLD_SIZE, got RANK={place.rank}, "
            f"LOCAL_RANK={place.local_rank}, WORLD_SIZE={place.world_size}. {HINT}"
        )
    return place
