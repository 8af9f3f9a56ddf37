"""Does the project work on a GPU, and how fast is it? At most nine minutes on one CUDA GPU.

The script needs no network connection, no dataset and only the project's own requirements; any GPU
with at least 8 GB will do. Proofs come first, then measurements, the most informative ones first.
The report names what did not fit into time or memory. A dry run tries it all on a CPU, tiny.

python benchmarks/gpu_acceptance.py --out acceptance --results benchmarks/RESULTS.md
python benchmarks/gpu_acceptance.py --dry-run

Writes OUT.json and OUT.md. Exit status: 0, 1 if a check fails, 2 without a GPU.
"""

import time

START = time.monotonic()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

import acceptance  # noqa: E402, F401  # puts tests/helpers on the path

# isort: split
import device_processes  # noqa: E402
import device_proofs  # noqa: E402
import device_runs  # noqa: E402
import torch  # noqa: E402
from acceptance import loading, parts, report, steps  # noqa: E402
from acceptance.bench import TINY, Bench, Scale, Section, run_sections  # noqa: E402
from acceptance.clock import Clock  # noqa: E402
from results import write_section  # noqa: E402

from mmseg.system.files import atomic_write  # noqa: E402

MINUTES = 9.0
# In this order; the seconds are those of a fast GPU.
SECTIONS = (
    Section("recorded steps", device_proofs.recorded, 10),
    Section("curves in float64", device_proofs.curves_in_double, 10),
    Section("host reads", device_proofs.reads, 15),
    Section("deterministic runs", device_runs.deterministic_runs, 30),
    Section("two processes", device_processes.two_processes, 20),
    Section("half precision", device_proofs.half_precision, 5),
    Section("curves in float32", device_proofs.curves_in_single, 15),
    Section("matrix products", parts.matrix_products, 5),
    Section("training steps", steps.published, 40),
    Section("predictions", parts.predictions, 20),
    Section("depth metric", parts.metric, 15),
    Section("training steps in TF32", steps.published_in_tf32, 40),
    Section("training steps, other source", steps.published_later, 40),
    Section("loader", loading.loader, 20),
    Section("depth network", parts.depth_network, 20),
    Section("switches", steps.switched, 75),
)


def main(arguments: Sequence[str] | None = None, sections: Sequence[Section] = SECTIONS) -> int:
    """Run the sections, write the files, and return the exit status."""
    options = parse_arguments(arguments, [section.name for section in sections])
    if not options.dry_run and not torch.cuda.is_available():
        print(
            "expected a CUDA GPU of at least 8 GB that torch can use, got none; install a driver "
            "and torch with CUDA, or try the script without a GPU: "
            "python benchmarks/gpu_acceptance.py --dry-run",
            file=sys.stderr,
        )
        return 2
    device = torch.device("cpu") if options.dry_run else torch.device("cuda", 0)
    if options.dry_run:
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(device)
        torch.cuda.init()  # statistics of the memory exist from here on
    scale = TINY if options.dry_run else Scale()
    clock = Clock(options.minutes, START if arguments is None else None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(device, scale, clock, Path(folder), report.head(device))
        chosen = [s for s in sections if options.only is None or s.name in options.only]
        for section in sections:
            if section not in chosen:
                bench.record.leave_out(section.name, "not asked for (--only)")
        run_sections(bench, chosen, lambda: write(bench, options))
    return write(bench, options)


def parse_arguments(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("gpu_acceptance"), help="output files, without suffix")
    add("--results", type=Path, help="Markdown file in which to replace the section of this GPU")
    add("--minutes", type=float, default=MINUTES, help="limit for the whole script")
    add("--only", nargs="+", choices=names, metavar="SECTION", help=f"among: {', '.join(names)}")
    add("--dry-run", action="store_true", help="on a CPU, with tiny sizes")
    return parser.parse_args(arguments)


def write(bench: Bench, options: argparse.Namespace) -> int:
    """Write the files and return the exit status."""
    found = report.content(bench)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(options.out.with_suffix(".json"), "w") as file:
        file.write(json.dumps(found, indent=1) + "\n")
    text = report.markdown(found)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    if options.results:
        write_section(f"gpu_acceptance {found['machine']['device']}", text, options.results)
    print(f"\n{text}")
    return bench.record.status


if __name__ == "__main__":
    sys.exit(main())
