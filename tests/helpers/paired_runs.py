"""Two processes train configs: without interruption, and with a signal to process 1 and a resume.

    paired_runs.run(root, {"cdda": (0, 2)})      # root/cdda.py, with loader workers 0 and 2
    paired_runs.outcomes(root, rank, "cdda")     # {"whole": digest, "0": [interruption, digest]}

The runs lie in `root/<name>/whole` and `root/<name>/broken<workers>`. One pair of processes does
all of them. A digest is that of all parameters in the end.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import load_config
from mmseg.engine.trainer import Trainer
from mmseg.system import processes
from mmseg.system.interruption import RunInterrupted

PROCESSES, BREAK, END = 2, 2, 4
Jobs = Mapping[str, Sequence[int]]


class WatchedTrainer:
    """Sends process 1 a signal in iteration `BREAK`, and notes what the student has become."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_interrupted = False
        self.digest = ""
        step = Trainer.step

        def watched(trainer: Trainer, batch: Any) -> None:
            step(trainer, batch)
            done = trainer.progress.iteration
            if self.is_interrupted and done == BREAK and processes.rank() == 1:
                os.kill(os.getpid(), signal.SIGUSR1)
            if done == END:
                values = [p.detach().numpy() for p in trainer.method.parameters()]
                self.digest = hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest()

        patch.setattr(Trainer, "step", watched)

    def train(self, config: Path, work_dir: Path, workers: int, is_interrupted: bool) -> str:
        """Train, and return a digest of all parameters, or what interrupted the run."""
        cfg = load_config(config)
        cfg.merge_options({"data.workers_per_gpu": workers})
        self.is_interrupted = is_interrupted
        options = TrainOptions(work_dir=str(work_dir), resume="auto")
        try:
            run_training(cfg, options)
        except RunInterrupted as interruption:
            return str(interruption)
        return self.digest


def run(root: Path, jobs: Jobs) -> None:
    """Do all runs, each from its config `root/<name>.py`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_work, (port, root, jobs), nprocs=PROCESSES)


def outcomes(root: Path, rank: int, name: str) -> dict[str, Any]:
    """Return what became of the runs of a config, as process `rank` saw it."""
    return json.loads((root / f"{rank}.json").read_text())[name]


def _work(rank: int, port: int, root: Path, jobs: Jobs) -> None:
    torch.set_num_threads(1)
    # A spawned process would spawn its loader workers too, and each would import torch anew.
    multiprocessing.set_start_method("fork", force=True)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found: dict[str, dict[Any, Any]] = {}
    with pytest.MonkeyPatch.context() as patch:
        trainer = WatchedTrainer(patch)
        for name, numbers in jobs.items():
            config, folder = root / f"{name}.py", root / name
            found[name] = {"whole": trainer.train(config, folder / "whole", 0, False)}
            for workers in numbers:
                found[name][workers] = [
                    trainer.train(config, folder / f"broken{workers}", workers, is_interrupted)
                    for is_interrupted in (True, False)
                ]
    (root / f"{rank}.json").write_text(json.dumps(found))
    processes.barrier()
    processes.shut_down()
