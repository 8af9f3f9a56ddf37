"""Where the numbers of a run go: text and JSON lines always, TensorBoard and wandb on request."""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.config.registry import Registry
from mmseg.config.values import Section
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write

TRACKERS = Registry("log hook", supplied=("work_dir", "is_resumed"))
WANDB_ID = "wandb_id.txt"  # which run of Weights & Biases a work folder belongs to
INERT = ("by_epoch", "interval", "ignore_last", "reset_flag", "interval_exp_name")


class Tracker:
    """Takes the records of training ('train') and evaluation ('val'); this one ignores them."""

    def track(self, record: Mapping[str, Any]) -> None:
        """Take one record: `mode`, `iter` and numbers."""

    def close(self) -> None:
        """Finish writing."""


@TRACKERS.register("TextLoggerHook", inert=INERT)
class TextTracker(Tracker):
    """Stands for the text log, which the engine writes anyway."""


class JsonTracker(Tracker):
    """Appends every record to a file as one line of JSON; NaN becomes null."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)

    def track(self, record: Mapping[str, Any]) -> None:
        """Append the record."""
        plain = {key: None if value != value else value for key, value in record.items()}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(plain) + "\n")


@TRACKERS.register("TensorboardLoggerHook", inert=INERT)
class TensorboardTracker(Tracker):
    """Writes scalars to `tf_logs/` in the work folder."""

    def __init__(self, work_dir: str, log_dir: str | None = None) -> None:
        tensorboard = _installed("torch.utils.tensorboard", "TensorboardLoggerHook")
        self.writer = tensorboard.SummaryWriter(log_dir or str(Path(work_dir) / "tf_logs"))

    def track(self, record: Mapping[str, Any]) -> None:
        """Write each number."""
        for name, value in _numbers(record).items():
            self.writer.add_scalar(name, value, record["iter"])

    def close(self) -> None:
        """Flush the event file."""
        self.writer.close()


@TRACKERS.register("WandbLoggerHook", inert=(*INERT, "commit", "with_step"))
class WandbTracker(Tracker):
    """Sends scalars to Weights & Biases.

    A resumed run continues the same run there; wandb ignores steps that it has already.
    """

    def __init__(
        self, work_dir: str, init_kwargs: Mapping[str, Any] | None = None, is_resumed: bool = False
    ) -> None:
        wandb = _installed("wandb", "WandbLoggerHook")
        file = Path(work_dir) / WANDB_ID
        is_known = is_resumed and file.is_file()
        same = {"id": file.read_text(encoding="utf-8"), "resume": "allow"} if is_known else {}
        self.run = wandb.init(**{"dir": work_dir, **same, **(init_kwargs or {})})
        with atomic_write(file, "w") as stream:
            stream.write(self.run.id)

    def track(self, record: Mapping[str, Any]) -> None:
        """Send each number."""
        self.run.log(_numbers(record), step=record["iter"])

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


def build_trackers(
    hooks: Sequence[Section], work_dir: str, timestamp: str, is_resumed: bool = False
) -> list[Tracker]:
    """Build what `log_config.hooks` names, and the JSON lines."""
    arguments: dict[Any, dict[str, Any]] = {
        "TensorboardLoggerHook": {"work_dir": work_dir},
        "WandbLoggerHook": {"work_dir": work_dir, "is_resumed": is_resumed},
    }
    trackers: list[Tracker] = [JsonTracker(Path(work_dir) / f"{timestamp}.log.json")]
    for hook in hooks:
        trackers.append(TRACKERS.build(hook, **arguments.get(hook.get("type"), {})))
    return trackers


def text_line(record: Mapping[str, Any], max_iters: int, eta: str) -> str:
    """Return a training record as a line for people."""
    rate = f"Iter [{record['iter']}/{max_iters}]  lr: {record['lr']:.3e}, eta: {eta}"
    times = f"time: {record['time']:.3f}, data_time: {record['data_time']:.3f}"
    hidden = ("mode", "iter", "lr", "time", "data_time", "memory")
    losses = [f"{k}: {v:.4f}" for k, v in record.items() if k not in hidden]
    memory = "unknown" if record["memory"] is None else record["memory"]
    return ", ".join([rate, times, f"memory: {memory}", *losses])


def _installed(module: str, hook: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.rpartition(".")[2]
        raise ConfigError(
            f"log_config.hooks names {hook}, but {package} is not installed; run: pip install "
            f"{package}"
        ) from error


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record as `<mode>/<name>`, without its iteration."""
    numbers = {k: v for k, v in record.items() if isinstance(v, int | float) and k != "iter"}
    return {f"{record['mode']}/{name}": value for name, value in numbers.items()}
