"""What `tools/reproduce.py` starts: a series of seeds, then the report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mmseg.apis.comparison.published import published_for, published_like
from mmseg.apis.comparison.reproduction import (
    STEM,
    Reproduction,
    check_folder,
    require_finished,
    write_reproduction,
)
from mmseg.apis.series.series import finished_runs
from mmseg.cli.training import ExperimentOptions, experiment_command, series_of
from mmseg.config.values import Seed
from mmseg.system import processes
from mmseg.system.options import ConfigOptions, LaunchOptions, TrustOptions, option
from mmseg.system.safe_loading import trusting_files

SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(LaunchOptions, ConfigOptions, TrustOptions):
    """The choices of the command line."""

    seeds: list[Seed] = option(
        default_factory=lambda: list(SEEDS), help="a run with each (0 1 2)", metavar="SEED"
    )
    out: Path | None = option(
        None, "folder of the report; by default beside the runs", metavar="DIR"
    )
    report_only: bool = option(False, "train nothing: report on the runs that are finished")
    pseudo_labels: Annotated[int, Field(ge=0)] = option(
        50, "training images of the target whose pseudo-labels are looked at; 0: none"
    )

    @property
    def series(self) -> ExperimentOptions:
        """The same runs as `run_experiments.py --config CONFIG --seeds …`."""
        return ExperimentOptions(
            config=self.config,
            seeds=self.seeds,
            cfg_options=self.cfg_options,
            trust_checkpoint=self.trust_checkpoint,
            launcher=self.launcher,
            local_rank=self.local_rank,
        )


def reproduce_command(options: ReproduceOptions, say: Callable[[object], object]) -> None:
    """Train what is unfinished, and write the report."""
    series = series_of(options.series)
    name, config = series.runs[0].group, series.runs[0].config()
    published = published_for(options.config) or published_like(config)
    out = options.out or series.folder / f"{STEM}_{name}"
    if not options.report_only:
        check_folder(out, [config])  # before days of training
        experiment_command(options.series)
    if not processes.is_main():
        return
    folders = finished_runs(series).get(name, {})
    wanted = Reproduction(
        name, options.config, folders, options.seeds, published, out, options.pseudo_labels
    )
    require_finished(wanted)
    with trusting_files(options.trust_checkpoint):
        verdict, files = write_reproduction(wanted)
    say(f"Verdict: {verdict.word}. {verdict.why}")
    for file in files:
        say(file)
