"""Make the depth maps of images, from the choices of a person to the last line of the summary.

jobs -> folder (which maps are there) -> maker (a network, or the conversion of files) -> claim
(`depth.json`: maps of another recipe end the run) -> every process makes its share -> summary.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from tqdm import tqdm

from mmseg.datasets.depth.inspection import folder_warnings
from mmseg.datasets.depth.record import DepthRecord
from mmseg.preprocessing.depth_maps.disparity import Conversion
from mmseg.preprocessing.depth_maps.folder import MapFolder
from mmseg.preprocessing.depth_maps.jobs import (
    LAYOUTS,
    PREVIEW_FILE,
    Job,
    Outcomes,
    Say,
    counted,
    find_jobs,
)
from mmseg.preprocessing.depth_maps.network import load_network
from mmseg.preprocessing.depth_maps.scaling import QUANTITIES
from mmseg.system import processes
from mmseg.system.errors import is_for_user
from mmseg.system.files import require_writable
from mmseg.system.interruption import Interruption, RunInterrupted
from mmseg.system.options import option
from mmseg.visualization.depth_sheet import require_new_sheet, save_sheet

T = TypeVar("T")
MAX_NAMED = 20  # failures


@dataclass(frozen=True)
class Options:
    """The choices of one run, as `tools/make_depth.py --help` describes them.

    Without a `model`, `inputs` are maps to convert.
    """

    inputs: tuple[Path, ...] = option(
        help="folders (with all in them), files", positional=True, metavar="IMAGES"
    )
    out: Path = option(help="folder of the maps", metavar="DIR")
    model: str | None = option(
        None,
        "small, base or large (Depth Anything V2: small is free for all uses, the others are "
        "non-commercial); a local folder; or any depth model of the hub",
        metavar="PATH|NAME",
        one_of="source",
    )
    layout: str | None = option(
        None,
        "names of the maps. cityscapes: leftImg8bit becomes depth; gta, synthia: the image's; "
        "flat: all in one folder (default: cityscapes if the images are called so, else kept)",
        choices=tuple(LAYOUTS),
    )
    quantity: str | None = option(
        None,
        "what the model or the files hold; metric depth is inverted (default: as the model's type "
        "is known to give; inverse for files)",
        choices=QUANTITIES,
    )
    device: torch.device = torch.device("cpu")
    batch_size: Annotated[int, Field(ge=1)] = option(
        1,
        "images of one size that are computed together (default: on a GPU 8, on a CPU 1)",
        metavar="N",
    )
    amp: bool = option(False, "compute in half precision: faster on a GPU")
    workers: Annotated[int, Field(ge=0)] = option(
        0,
        "processes that read images, and half as many threads that write maps; with "
        "--from-disparity processes that convert; 0: none (default: as many as there are cores, "
        "at most 16; 1 where a CPU computes)",
        names=("--num-workers",),
        metavar="N",
    )
    overwrite: bool = option(
        False,
        "make maps that are there again (an interrupted run goes on without this option)",
    )
    preview: Path | None = option(
        None,
        f"draw images, maps and bins side by side into a PNG (default: DIR/{PREVIEW_FILE})",
        metavar="FILE",
        nargs="?",
        const=Path(),
    )


@dataclass
class Summary:
    """Maps that were made, maps that were there before, and why there are none of other images."""

    made: int = 0
    existing: int = 0
    failures: list[str] = field(default_factory=list)

    def failure_lines(self) -> list[str]:
        """Name the first failures and count the others."""
        lines = [f"  {reason}" for reason in self.failures[:MAX_NAMED]]
        if lines:
            lines.insert(0, f"No map could be made of {counted(len(self.failures), 'file')}:")
        if len(self.failures) > MAX_NAMED:
            lines.append(f"  … and {len(self.failures) - MAX_NAMED} others.")
        return lines


def make_maps(options: Options, say: Say) -> Summary:
    """Make the maps that are not there yet, in all processes of the run; return what all did.

    Process 0 says what a person should read. Errors are sentences; `RunInterrupted` is a signal.
    """
    say = say if processes.is_main() else lambda line: None
    with Interruption() as interruption:
        folder = together(lambda: _open(options, say))
        if processes.broadcast_object(not folder.todo and not options.overwrite):
            total = Summary(existing=len(folder.jobs))
            quantity = options.quantity or (None if options.model else "inverse")
            say(together(lambda: folder.complete_line(options.model, quantity)))
        else:
            total = _make_all(options, folder, interruption, say)
            say(f"Made {counted(total.made, 'map')} in {options.out}.")
        for line in total.failure_lines():
            say(line)
        if processes.is_main():
            folder.remove_partials()  # of processes that outlived a killed run for a moment
            _show_maps(options, folder.jobs, say)
    return total


def together(action: Callable[[], T]) -> T:
    """Return what `action` returns here; if it fails in one process, all end, with one sentence."""
    value, error = None, None
    try:
        value = action()
    except (OSError, ValueError, ImportError) as caught:
        if not is_for_user(caught):
            raise
        error = caught
    if errors := [other for other in processes.gather_objects(error) if other is not None]:
        raise (error or errors[0]) if processes.is_main() else SystemExit(1)
    return value  # type: ignore[return-value]


def _open(options: Options, say: Say) -> MapFolder:
    """Look at images and maps; change nothing but what a killed run left."""
    jobs = find_jobs(options.inputs, options.out, options.layout, options.model is None, say)
    folder = MapFolder(options.out, jobs)
    if options.preview is not None:
        require_new_sheet(options.preview, folder.preview, [job.output for job in jobs])
    if processes.is_main():
        require_writable(options.out)
        folder.remove_partials()  # of a killed run
    return folder


def _make_all(options: Options, folder: MapFolder, interruption: Interruption, say: Say) -> Summary:
    """Make this process's share of the maps; return what all did."""
    maker = Conversion(options.inputs, options.quantity or "inverse")
    if (model := options.model) is not None:
        maker = together(lambda: load_network(model, options.device, options.amp, options.quantity))
    for line in maker.describe():
        say(line)

    def claim() -> Sequence[Job]:
        return folder.claim(DepthRecord(maker.recipe(), maker.details()), options.overwrite)

    # Process 0 decides.
    jobs = processes.broadcast_object(together(claim if processes.is_main() else list))
    own = Summary(existing=len(folder.jobs) - len(jobs))
    if own.existing:
        say(f"{own.existing} of {len(folder.jobs)} maps are in {options.out} already.")
    share = jobs[processes.rank() :: processes.world_size()]
    settings = options.batch_size, options.workers, lambda: interruption.requested
    _count(maker.outcomes(share, *settings), len(share), own)
    done = own.made + len(own.failures)
    is_stopped = interruption.requested and done < len(share)
    try:
        everyone = [] if is_stopped else processes.gather_objects(own)
    except processes.ProcessGroupError:  # the others may have been stopped, as this one
        if not interruption.requested:
            raise
        everyone = []
    if not everyone:
        for line in own.failure_lines():
            say(line)
        process = f" of process {processes.rank()}" if processes.world_size() > 1 else ""
        raise RunInterrupted(
            f"Stopped by {interruption.signal_name} after {done} of {len(share)} maps{process}. "
            f"Start the same command again{' without --overwrite' * options.overwrite} to continue."
        )
    failures = [reason for one in everyone for reason in one.failures]
    return Summary(sum(one.made for one in everyone), own.existing, failures)


def _count(outcomes: Outcomes, total: int, summary: Summary) -> None:
    """Let maps be made, behind a bar."""
    bar = tqdm(total=total, desc="depth maps", unit="image", disable=not processes.is_main())
    with bar, closing(outcomes):
        for failure in outcomes:
            summary.made += failure is None
            summary.failures += [failure] if failure else []
            bar.update()


def _show_maps(options: Options, jobs: Sequence[Job], say: Say) -> None:
    """Warn of what looks wrong in the maps that are there, and draw the preview."""
    there = [job for job in jobs if job.output.is_file()]
    maps = [job.output for job in there]
    for warning in folder_warnings(maps, options.out):
        say(f"Warning: {warning}")
    if options.preview is not None and there:
        # Of maps that were converted there is no image.
        images = [None if options.model is None else job.image for job in there]
        save_sheet(options.preview, maps, images)
        say(f"Preview: {options.preview}")
