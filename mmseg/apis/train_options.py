"""The choices of a training's command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmseg.config.values import Seed
from mmseg.system.options import OPT_IN, LaunchOptions, TrustOptions, option

SEED = "the config's, else the resumed run's, else a random one, which the log states"


@dataclass(frozen=True)
class TrainOptions(LaunchOptions, TrustOptions):
    """The choices of a command line; None follows the config."""

    work_dir: str | None = option(None, "for logs and checkpoints")
    seed: Seed | None = option(None, f"of samples, draws and initial weights; default: {SEED}")
    resume: str | None = option(
        None,
        "checkpoint to continue from; auto: the newest complete one of the work folder",
        also=("--resume-from",),
        metavar="PATH|auto|none",
    )
    overwrite: bool = option(False, "train anew in a folder that has checkpoints of another run")
    deterministic: bool = option(False, "repeat a run bit by bit")
    validate: bool = option(True, "train without evaluation", names=("--no-validate",))
    notes: Sequence[str] = ()  # lines for the log about what a command has chosen

    def to_repeat(self) -> list[str]:
        """Return the options that the command to continue the run needs again."""
        wanted = {"--deterministic": self.deterministic, "--no-validate": not self.validate}
        wanted[OPT_IN] = self.trust_checkpoint
        return [name for name, is_wanted in wanted.items() if is_wanted]
