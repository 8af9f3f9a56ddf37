"""The choices of a training's command line."""

from dataclasses import dataclass

from mmseg.system.safe_loading import OPT_IN


@dataclass(frozen=True)
class TrainOptions:
    """The choices of a command line; None follows the config."""

    work_dir: str | None = None
    seed: int | None = None
    resume: str | None = None  # a path, 'auto' or 'none'
    deterministic: bool = False
    validate: bool = True
    launcher: str = "none"
    local_rank: int | None = None  # from torch.distributed.launch
    trust_checkpoint: bool = False  # whether the command has switched that on; see safe_loading

    def to_repeat(self) -> list[str]:
        """Return the options that the command to continue the run needs again."""
        wanted = {"--deterministic": self.deterministic, "--no-validate": not self.validate}
        wanted[OPT_IN] = self.trust_checkpoint
        return [name for name, is_wanted in wanted.items() if is_wanted]
