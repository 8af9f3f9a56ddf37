"""Compare runs by their logs: speed, waiting for data, memory, mIoU, and losses at the end.

python tools/analyze_logs.py work_dirs/local-basic/RUN [RUN …] --json logs.json

Seconds are those of an iteration without evaluations; the first line of each start is left out.
Losses are means over the last tenth of the iterations. Pictures: tools/plot_curves.py.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.log_analysis import analyze, as_json, as_text  # noqa: E402
from mmseg.cli.command import command  # noqa: E402
from mmseg.evaluation.run_logs import log_files  # noqa: E402
from mmseg.system.files import write_json  # noqa: E402
from mmseg.system.options import option  # noqa: E402
from mmseg.system.outputs import check_output_file, is_json  # noqa: E402


@dataclass(frozen=True)
class Options:
    """The choices of the command line."""

    runs: list[str] = option(help="work folders, or logs", positional=True, metavar="RUN")
    json: str | None = option(None, "write everything there as JSON, too", metavar="FILE")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    runs = [analyze(run) for run in options.runs]
    if options.json is not None:
        logs = [file for run in options.runs for file in log_files(run)]
        check_output_file(options.json, logs, "--json", is_json("runs"))
    print(as_text(runs))
    if options.json is not None:
        write_json(options.json, as_json(runs))


if __name__ == "__main__":
    main()
