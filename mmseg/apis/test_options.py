"""The choices of a test's command line, and which of them go together."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mmseg.config.registry import check_keys
from mmseg.engine.checkpoint import NETWORKS
from mmseg.engine.precision import SHORT_NAMES
from mmseg.evaluation.metrics import check_metrics
from mmseg.system.errors import ConfigError
from mmseg.system.files import advising, require_writable
from mmseg.system.hub import is_on_hub
from mmseg.system.options import CfgOptions, LaunchOptions, TrustOptions, check_values, option
from mmseg.system.outputs import check_output_file, check_output_folder, is_pickle

FORMAT_OPTIONS = ("imgfile_prefix", "to_label_id")
EVAL_MODELS = (*NETWORKS, "both")
INFERENCE_MODES = ("whole", "slide")
ATTENTION = "ATT"
FIXED_ATTENTION = {"LR": 0.0, "HR": 1.0}  # replaces HRDA's attention
HRDA_OUTPUTS = (*FIXED_ATTENTION, ATTENTION)


@dataclass(frozen=True)
class TestOptions(CfgOptions, LaunchOptions, TrustOptions):
    """The choices of a command line."""

    __test__ = False  # keeps pytest from collecting it

    config: str = option(help="path of the config, with or without .py", positional=True)
    checkpoint: str = option(help="file of weights, or hf://owner/name", positional=True)
    eval_model: str = option(
        "student",
        "of a self-training run; both: what the teacher writes is called *_teacher",
        choices=EVAL_MODELS,
    )
    metrics: list[str] = option(
        default_factory=list, help="mIoU, mDice, mFscore", names=("--eval",), metavar="METRIC"
    )
    show_dir: str | None = option(None, "folder for painted predictions")
    opacity: Annotated[float, Field(gt=0, le=1)] = option(0.5, "1 paints palette PNGs of train ids")
    out: str | None = option(None, "write all label maps to one file", metavar="FILE.pkl")
    format_only: bool = option(False, "write files for a test server")
    eval_options: Mapping[str, Any] = option(
        default_factory=dict, help="imgfile_prefix=FOLDER to_label_id=True", metavar="KEY=VALUE"
    )
    test_set: bool = option(False, "'test' in place of 'val' in paths")
    aug_test: bool = option(False, "six sizes, each also mirrored")
    inference_mode: str | None = option(
        None,
        "whole images or windows; by default what the config's test_cfg says",
        choices=INFERENCE_MODES,
    )
    hrda_out: str | None = option(
        None,
        "of HRDA: the context (LR) or the details (HR) alone, or paint the attention (ATT)",
        choices=HRDA_OUTPUTS,
    )
    amp: str | None = option(
        None, "half precision; default: full, also for runs in half", choices=tuple(SHORT_NAMES)
    )
    tf32: bool = option(False, "round float32 to TF32, on GPUs since Ampere")
    compile: Literal["default", "max"] | None = option(
        None,
        "compile the network: minutes at the start, faster afterwards",
        nargs="?",
        const="default",
        choices=("default", "max"),
    )
    work_dir: str | None = option(None, "for results.json; by default the checkpoint's folder")

    def with_usual_metric(self) -> "TestOptions":
        """Return the options of a command that asks for nothing: it evaluates the mIoU."""
        other = self.metrics or self.format_only or self.show_dir or self.out or self.is_attention
        return self if other else replace(self, metrics=["mIoU"])

    @property
    def is_attention(self) -> bool:
        """Whether HRDA's attention is painted instead of labels."""
        return self.hrda_out == ATTENTION

    def recorded_choices(self) -> dict[str, Any]:
        """Return the choices that change results, for the file of results."""
        chosen: dict[str, Any] = {"hrda_out": self.hrda_out, "inference_mode": self.inference_mode}
        chosen |= {"aug_test": self.aug_test or None, "amp": self.amp, "tf32": self.tf32 or None}
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


def check_outputs(
    options: TestOptions, read: Sequence[str], folders: Sequence[Path], results: Path
) -> None:
    """Raise `ConfigError` for an output that would replace what the test reads.

    `read` are files, `folders` hold images, labels and depth; `results` is the file of results.
    """
    written = {
        "--show-dir": options.show_dir,
        "--work-dir": options.work_dir,
        "imgfile_prefix": options.eval_options.get("imgfile_prefix"),
    }
    for name, folder in written.items():
        if folder:
            check_output_folder(folder, [*read, *folders], name)
    if options.out:
        check_output_file(options.out, [*read, *folders], "--out", is_pickle)
    if options.metrics:
        check_output_file(results, read, "a file of results")


def check_writable(options: TestOptions, work_dir: Path) -> None:
    """Raise `OSError` if outputs cannot be written, which should be known before the first image.

    `work_dir` gets the log and the results.
    """
    advice = (
        "The log and the results go to the checkpoint's folder: name another one with --work-dir."
    )
    with advising(advice) if options.work_dir is None else nullcontext():
        require_writable(work_dir)
    for folder in options.written_folders():
        require_writable(folder)


def check_options(options: TestOptions) -> None:
    """Raise `ConfigError` for options that contradict each other, before anything is loaded."""
    check_values(options)
    check_metrics(options.metrics)
    if is_on_hub(options.checkpoint) and options.work_dir is None:
        raise ConfigError(
            f"expected a folder for the log and results of {options.checkpoint!r}, got none. Add "
            "--work-dir DIR."
        )
    if options.out is not None and Path(options.out).suffix not in (".pkl", ".pickle"):
        raise ConfigError(f"expected --out with the suffix .pkl, got {options.out!r}.")
    if options.format_only and options.metrics:
        raise ConfigError("expected either --eval or --format-only, got both.")
    check_keys(options.eval_options, FORMAT_OPTIONS, "--eval-options")
    if options.format_only and "imgfile_prefix" not in options.eval_options:
        raise ConfigError(
            "expected a folder for --format-only, got none. Add "
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
                f"expected --hrda-out {ATTENTION} without {name}, got both. The attention is only "
                f"painted: drop {name}."
            )
    if options.show_dir is None:
        raise ConfigError(
            f"expected a folder for --hrda-out {ATTENTION}, got none. Add --show-dir FOLDER."
        )


def _teachers(path: str) -> str:
    """Return a path's twin for the teacher.

    >>> _teachers('preds'), _teachers('labels/out.pkl')
    ('preds_teacher', 'labels/out_teacher.pkl')
    """
    own = Path(path)
    return str(own.with_name(f"{own.stem}_teacher{own.suffix}"))
