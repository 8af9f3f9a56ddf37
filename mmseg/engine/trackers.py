"""Where the numbers of a run go: text and JSON lines always, TensorBoard and wandb on request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mmseg.config.registry import Registry, check_keys
from mmseg.engine.logs import JsonLines, get_logger
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write

TRACKERS = Registry("log hook")
WANDB_ID = "wandb_id.txt"  # which run of Weights & Biases a work folder belongs to
LOG_CONFIG = ("interval", "img_interval", "hooks")
INERT = ("by_epoch", "interval", "ignore_last", "reset_flag", "interval_exp_name")


class Tracker(Protocol):
    """Takes the records of training ('train') and evaluation ('val')."""

    def track(self, record: Mapping[str, Any]) -> None:
        """Take one record: `mode`, `iter` and numbers."""

    def close(self) -> None:
        """Finish writing."""


class JsonTracker:
    """Writes every record as one line of JSON."""

    def __init__(self, file: Path) -> None:
        self.lines = JsonLines(file)

    def track(self, record: Mapping[str, Any]) -> None:
        """Append the record."""
        self.lines.write(dict(record))

    def close(self) -> None:
        """Do nothing: every line is on the disk already."""


@TRACKERS.register("TextLoggerHook", inert=INERT)
class TextTracker:
    """Stands for the text log, which the engine writes anyway."""

    def track(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@TRACKERS.register("TensorboardLoggerHook", inert=INERT)
class TensorboardTracker:
    """Writes scalars to `tf_logs/` in the work folder."""

    def __init__(self, work_dir: str, log_dir: str | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "log_config.hooks names TensorboardLoggerHook, but tensorboard is not installed; "
                "run: pip install tensorboard"
            ) from error
        self.writer = SummaryWriter(log_dir or str(Path(work_dir) / "tf_logs"))

    def track(self, record: Mapping[str, Any]) -> None:
        """Write each number as `<mode>/<name>`."""
        for key, value in _numbers(record).items():
            self.writer.add_scalar(f"{record['mode']}/{key}", value, record["iter"])

    def close(self) -> None:
        """Flush the event file."""
        self.writer.close()


@TRACKERS.register("WandbLoggerHook", inert=(*INERT, "commit", "with_step"))
class WandbTracker:
    """Sends scalars to Weights & Biases.

    A resumed run goes on in the same run there; steps that it repeats are already known and are
    left out by wandb.
    """

    def __init__(
        self,
        work_dir: str,
        init_kwargs: Mapping[str, Any] | None = None,
        is_resumed: bool = False,
    ) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ConfigError(
                "log_config.hooks names WandbLoggerHook, but wandb is not installed; "
                "run: pip install wandb"
            ) from error
        file = Path(work_dir) / WANDB_ID
        is_known = is_resumed and file.is_file()
        same = {"id": file.read_text(encoding="utf-8"), "resume": "allow"} if is_known else {}
        self.run = wandb.init(**{"dir": work_dir, **same, **(init_kwargs or {})})
        with atomic_write(file, "w") as stream:
            stream.write(self.run.id)

    def track(self, record: Mapping[str, Any]) -> None:
        """Send each number as `<mode>/<name>`."""
        values = {f"{record['mode']}/{key}": value for key, value in _numbers(record).items()}
        self.run.log(values, step=record["iter"])

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


def build_trackers(
    log_config: Mapping[str, Any], work_dir: str, timestamp: str, is_resumed: bool = False
) -> list[Tracker]:
    """Build what `log_config.hooks` names, and the JSON lines.

    Raises:
        ConfigError: for an unknown hook or key.
    """
    check_keys(log_config, LOG_CONFIG, "log_config")
    facts: dict[Any, dict[str, Any]] = {
        "TensorboardLoggerHook": {"work_dir": work_dir},
        "WandbLoggerHook": {"work_dir": work_dir, "is_resumed": is_resumed},
    }
    named: list[Tracker] = []
    for hook in log_config.get("hooks") or []:
        named.append(TRACKERS.build(hook, **facts.get(hook.get("type"), {})))
    return [JsonTracker(Path(work_dir) / f"{timestamp}.log.json"), *named]


def text_line(record: Mapping[str, Any], max_iters: int, eta: str) -> str:
    """Return a training record as a line for people."""
    rate = f"Iter [{record['iter']}/{max_iters}]  lr: {record['lr']:.3e}, eta: {eta}"
    times = f"time: {record['time']:.3f}, data_time: {record['data_time']:.3f}"
    hidden = ("mode", "iter", "lr", "time", "data_time", "memory")
    losses = [f"{k}: {v:.4f}" for k, v in record.items() if k not in hidden]
    memory = "unknown" if record["memory"] is None else record["memory"]
    return ", ".join([rate, times, f"memory: {memory}", *losses])


def log_train_record(
    trackers: list[Tracker], record: Mapping[str, Any], max_iters: int, eta: str
) -> None:
    """Write a training record to the log and to every tracker."""
    get_logger().info(text_line(record, max_iters, eta))
    for tracker in trackers:
        tracker.track(record)


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record, without its iteration."""
    return {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and key != "iter"
    }
