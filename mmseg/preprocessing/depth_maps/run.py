"""Make the depth maps of images, from the choices of a person to the last line of the summary.

jobs (which image becomes which map) -> folder (which maps are there already) -> maker (the network,
or the conversion of files) -> claim (`depth.json`: maps of another recipe end the run) -> outcomes
(every process makes its share) -> summary of all processes, warnings, preview.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from tqdm import tqdm

from mmseg.preprocessing.crops import lost_worker
from mmseg.preprocessing.depth_maps.closing import check_preview, show_maps, tell_complete
from mmseg.preprocessing.depth_maps.from_files import FromFiles
from mmseg.preprocessing.depth_maps.from_images import FromImages
from mmseg.preprocessing.depth_maps.jobs import Job, find_jobs
from mmseg.preprocessing.depth_maps.map_folder import MapFolder
from mmseg.preprocessing.depth_maps.network import load_network
from mmseg.preprocessing.depth_maps.options import Options
from mmseg.preprocessing.depth_maps.processes import together
from mmseg.preprocessing.depth_maps.summary import Summary, merge
from mmseg.preprocessing.depth_maps.writers import Writers
from mmseg.system import processes
from mmseg.system.interruption import Interruption, RunInterrupted

Say = Callable[[str], object]


def make_maps(options: Options, say: Say) -> Summary:
    """Make the maps that are not there yet, in all processes of the run; return what all did.

    Args:
        options: see `Options`.
        say: takes the lines that a person should read; only process 0 speaks.

    Raises:
        OSError, ValueError, ImportError: with a sentence for the user.
        RunInterrupted: a signal came; the maps that were computed are written.
    """
    say = say if processes.is_main() else _say_nothing
    together(options.check)
    with (
        Interruption() as interruption,
        Writers(options.writers, options.batch_size) as writers,
    ):
        folder = together(lambda: _open(options, say))
        if processes.broadcast_object(not folder.todo and not options.overwrite):
            together(lambda: tell_complete(folder, options, say))
            total = Summary(existing=len(folder.jobs))
        else:
            own = _make_share(options, folder, writers, interruption, say)
            total = merge(_gathered(own, interruption, options.overwrite))
            for line in total.lines(options.out):
                say(line)
        if processes.is_main():
            folder.remove_partials()  # of processes that outlived a killed run for a moment
            show_maps(folder.jobs, options, say)
    return total


def _open(options: Options, say: Say) -> MapFolder:
    """Look at images and maps; change nothing but what a killed run left."""
    jobs = find_jobs(options.inputs, options.out, options.layout, options.is_from_maps, say)
    check_preview(options, jobs)
    folder = MapFolder(options.out, jobs)
    if processes.is_main():
        folder.prepare()
    return folder


def _make_share(
    options: Options, folder: MapFolder, writers: Writers, interruption: Interruption, say: Say
) -> Summary:
    """Make this process's share of the maps."""
    maker = together(lambda: _maker(options))
    for line in maker.describe():
        say(line)
    jobs = together(lambda: _claimed(options, folder, maker))
    jobs = processes.broadcast_object(jobs)  # process 0 decides
    summary = Summary(existing=len(folder.jobs) - len(jobs))
    if summary.existing:
        say(f"{summary.existing} of {len(folder.jobs)} maps are in {options.out} already.")
    share = jobs[processes.rank() :: processes.world_size()]
    _run_through(maker, share, writers, interruption, summary)
    if interruption.requested and summary.done < len(share):
        for line in summary.failure_lines():
            say(line)
        raise _interrupted(interruption, f"{summary.done} of {len(share)} maps", options.overwrite)
    return summary


def _run_through(
    maker: FromImages | FromFiles,
    share: Sequence[Job],
    writers: Writers,
    interruption: Interruption,
    summary: Summary,
) -> None:
    """Make the maps of this process, and count them in `summary`."""
    start = time.perf_counter()
    bar = tqdm(total=len(share), desc="depth maps", unit="image", disable=not processes.is_main())
    try:
        with bar, closing(maker.outcomes(share, writers, lambda: interruption.requested)) as made:
            for outcome in made:
                summary.add(outcome)
                bar.update()
        return
    except RuntimeError as error:
        lost = lost_worker(error, maker.workers)
        if lost is None:
            raise
    finally:
        summary.seconds, summary.busy = time.perf_counter() - start, maker.busy
    raise lost


def _maker(options: Options) -> FromImages | FromFiles:
    """Load what makes the maps."""
    if options.model is None:
        return FromFiles(options.quantity or "inverse", options.inputs)
    network = load_network(options.model, options.device, options.amp, options.quantity)
    return FromImages(network, options.batch_size, options.workers)


def _claimed(options: Options, folder: MapFolder, maker: FromImages | FromFiles) -> Sequence[Job]:
    """Write the record and return what is left to do; only process 0 changes the folder."""
    return folder.claim(maker.record, options.overwrite) if processes.is_main() else []


def _gathered(own: Summary, interruption: Interruption, overwrite: bool) -> list[Summary]:
    """Return what all processes did; one that is gone was stopped, as this one, by a signal."""
    try:
        return processes.gather_objects(own)
    except processes.ProcessGroupError as error:
        if not interruption.requested:
            raise
        raise _interrupted(interruption, f"all {own.done} maps", overwrite) from error


def _interrupted(interruption: Interruption, count: str, overwrite: bool) -> RunInterrupted:
    """Say how far this process has come."""
    share = f" of process {processes.rank()}" if processes.world_size() > 1 else ""
    return RunInterrupted(
        f"Stopped by {interruption.signal_name} after {count}{share}. Start the same command "
        f"again{' without --overwrite' if overwrite else ''} to continue."
    )


def _say_nothing(line: str) -> None:
    """Be another process than the first."""
