"""The choices of a test's command line, and which of them go together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmseg.config.registry import check_keys
from mmseg.engine.checkpoint import NETWORKS
from mmseg.evaluation.metrics import check_metrics
from mmseg.system.errors import ConfigError

FORMAT_OPTIONS = ("imgfile_prefix", "to_label_id")
EVAL_MODELS = (*NETWORKS, "both")
INFERENCE_MODES = ("whole", "slide")
ATTENTION = "ATT"
FIXED_ATTENTION = {"LR": 0.0, "HR": 1.0}  # replaces HRDA's attention
HRDA_OUTPUTS = (*FIXED_ATTENTION, ATTENTION)


@dataclass(frozen=True)
class TestOptions:
    """The choices of a command line."""

    __test__ = False  # keeps pytest from collecting it

    config: str
    checkpoint: str
    eval_model: str = "student"  # or 'teacher', or 'both'
    metrics: list[str] = field(default_factory=list)
    show_dir: str | None = None
    opacity: float = 0.5
    out: str | None = None
    format_only: bool = False
    eval_options: Mapping[str, Any] = field(default_factory=dict)
    test_set: bool = False
    aug_test: bool = False
    inference_mode: str | None = None  # None: what the config says
    hrda_out: str | None = None  # 'LR', 'HR': one scale alone; 'ATT': paint the attention
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    work_dir: str | None = None
    launcher: str = "none"
    local_rank: int | None = None  # from torch.distributed.launch

    @property
    def is_attention(self) -> bool:
        """Whether HRDA's attention is painted instead of labels."""
        return self.hrda_out == ATTENTION

    def recorded_choices(self) -> dict[str, Any]:
        """Return the choices that change results, for the file of results."""
        chosen: dict[str, Any] = {"hrda_out": self.hrda_out, "inference_mode": self.inference_mode}
        chosen["aug_test"] = self.aug_test or None
        return {key: value for key, value in chosen.items() if value is not None}

    def written_folders(self) -> list[Path]:
        """Return the folders that the options name."""
        given = [self.show_dir, self.eval_options.get("imgfile_prefix")]
        given.append(str(Path(self.out).parent) if self.out else None)
        return [Path(folder) for folder in given if folder]

    def of_network(self, network: str) -> "TestOptions":
        """Return the options for one network: of two, the teacher writes to its own places."""
        if self.eval_model != "both" or network == "student":
            return self
        formats = dict(self.eval_options)
        if "imgfile_prefix" in formats:
            formats["imgfile_prefix"] = _teachers(formats["imgfile_prefix"])
        show_dir, out = (_teachers(p) if p else None for p in (self.show_dir, self.out))
        return replace(self, show_dir=show_dir, out=out, eval_options=formats)


def check_options(options: TestOptions) -> None:
    """Raise `ConfigError` for options that contradict each other, before anything is loaded."""
    check_metrics(options.metrics)
    for option, value, choices in (
        ("--eval-model", options.eval_model, EVAL_MODELS),
        ("--inference-mode", options.inference_mode, (None, *INFERENCE_MODES)),
        ("--hrda-out", options.hrda_out, (None, *HRDA_OUTPUTS)),
    ):
        if value not in choices:
            raise ConfigError(
                f"expected {option} {', '.join(filter(None, choices))}, got {value!r}."
            )
    if options.out is not None and Path(options.out).suffix not in (".pkl", ".pickle"):
        raise ConfigError(f"expected --out with the suffix .pkl, got {options.out!r}.")
    if not 0 < options.opacity <= 1:
        raise ConfigError(f"expected --opacity above 0 and at most 1, got {options.opacity}.")
    if options.format_only and options.metrics:
        raise ConfigError("expected either --eval or --format-only, got both.")
    check_keys(options.eval_options, FORMAT_OPTIONS, "--eval-options")
    if options.format_only and "imgfile_prefix" not in options.eval_options:
        raise ConfigError(
            "expected a folder for --format-only, got none; add "
            "--eval-options imgfile_prefix=FOLDER."
        )
    if options.is_attention:
        _check_attention(options)


def _check_attention(options: TestOptions) -> None:
    """Raise for options that need label maps, because attention is only painted."""
    asked = {"--eval": options.metrics, "--format-only": options.format_only, "--out": options.out}
    for name, value in asked.items():
        if value:
            raise ConfigError(
                f"expected --hrda-out {ATTENTION} without {name}, got both; the attention is only "
                f"painted: drop {name}."
            )
    if options.show_dir is None:
        raise ConfigError(
            f"expected a folder for --hrda-out {ATTENTION}, got none; add --show-dir FOLDER."
        )


def _teachers(path: str) -> str:
    """Return a path's twin for the teacher.

    >>> _teachers('preds'), _teachers('labels/out.pkl')
    ('preds_teacher', 'labels/out_teacher.pkl')
    """
    own = Path(path)
    return str(own.with_name(f"{own.stem}_teacher{own.suffix}"))
