"""What steps and pictures of the published configs may ask of a GPU, measured without one.

python benchmarks/stub_gpu/budgets.py            # which budgets are not kept?
python benchmarks/stub_gpu/budgets.py --write    # measure them anew

`--write` replaces `tests/stub_gpu_budgets.json`, which `tests/test_stub_gpu.py` compares with, and
the section of `benchmarks/RESULTS.md`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

import torch  # noqa: E402
from results import write_section  # noqa: E402

from stub_gpu import build  # noqa: E402
from stub_gpu.cases import ROOT, Case  # noqa: E402
from stub_gpu.child import measure  # noqa: E402
from stub_gpu.report import table  # noqa: E402

FILE = ROOT / "tests/stub_gpu_budgets.json"
RESULTS = ROOT / "benchmarks/RESULTS.md"
CONFIGS = (
    "daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0",
    "hrda/gtaHR2csHR_hrda",
    "mic/gtaHR2csHR_mic_hrda",
    "cdda/gta2cs_cdda_daformer",
    "cdda/synthia2cs_cdda_daformer",
    "cdda/gtaHR2csHR_cdda_hrda",
    "cdda/synthiaHR2csHR_cdda_hrda",
    "cdda/gtaHR2csHR_cdda_mic",
    "cdda/synthiaHR2csHR_cdda_mic",
    "cdda/gtaHR2csHR_cdda_vfm_b",
)
EXACT = ("waits", "reads", "pageable_copies")
ROUGH = ("launches", "fills", "device_copies", "uploaded_bytes", "peak_mib", "reserved_mib")
ROOM = 1.03  # of what is rough: another GPU's kernels, another order of allocations
SLACK = 0.9  # a budget is too large if fewer launches than this share of it are used

Row = Mapping[str, Any]  # of `EXACT`, `ROUGH`, and 'parts'
Budgets = dict[str, dict[str, Row]]  # by config, and by the name of a case


def cases(configs: Sequence[str] = CONFIGS) -> list[Case]:
    """Return every case that has a budget; those of one network follow each other."""
    return [
        Case(config, amp, is_picture=is_picture)
        for config in configs
        for is_picture in (False, True)
        for amp in (None, "bf16")
    ]


def exceeded(found: Row, budget: Row) -> Iterator[str]:
    """Yield a sentence for each number that does not fit its budget."""
    for name in EXACT:
        if found[name] > budget[name]:
            yield f"expected at most {budget[name]} {name}, got {found[name]}"
    for name in ROUGH:
        if found[name] > ROOM * budget[name]:
            yield f"expected at most {budget[name]} {name} (and 3 %), got {found[name]}"
    for name, launches in found["parts"].items():
        most = budget["parts"].get(name, 0)
        if launches > most:
            yield f"expected at most {most} launches of the {name}, got {launches}"
    if found["launches"] < SLACK * budget["launches"]:
        yield (
            f"expected about {budget['launches']} launches, got only {found['launches']}; write "
            "the lower budgets: python benchmarks/stub_gpu/budgets.py --write"
        )


def read() -> tuple[str, Budgets]:
    """Return the version of torch that the budgets were measured with, and the budgets."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return content["torch"], content["budgets"]


def measure_all(wanted: Sequence[Case]) -> Budgets:
    """Measure cases in one process."""
    found: Budgets = {}
    for case, row in zip(wanted, measure(wanted), strict=True):
        if not row.get("fits"):
            raise RuntimeError(f"expected {case.config} to run on the stub, got {row}.")
        numbers = {name: row[name] for name in (*EXACT, *ROUGH, "parts")}
        found.setdefault(case.config, {})[case.name] = numbers
    return found


def write(found: Budgets) -> None:
    """Replace the budgets, one line for each case, and the section of the results."""
    configs = []
    for config, rows in found.items():
        lines = [f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
        configs.append(f"  {json.dumps(config)}: {{\n" + ",\n".join(lines) + "\n  }")
    text = f'{{"torch": {json.dumps(version())},\n "budgets": {{\n' + ",\n".join(configs) + "\n}}\n"
    FILE.write_text(text, encoding="utf-8")
    write_section("stub_gpu", section(found), RESULTS)


def version() -> str:
    """Return torch's version without the number of its build and its corrections.

    Another one launches other kernels.
    """
    return ".".join(str(torch.__version__).split(".")[:2])


def section(found: Budgets) -> str:
    """Return the section of RESULTS.md."""
    about = (
        "## Launches and memory of a step on a stub runtime\n\n"
        f"`python benchmarks/stub_gpu/budgets.py --write`, {date.today()}, torch "
        f"{torch.__version__} on a CUDA runtime that counts and computes nothing "
        "(`benchmarks/stub_gpu/runtime/stub.h` says what is real above it): no GPU was used. "
        "Launches are kernels, products and convolutions. Steps have the config's own crop and "
        "batch, guidance, and a source crop for every target image out of as many as published; "
        "pictures have 2048×1024 pixels and the config's own test scale and windows, and the "
        "network alone is in memory. Peaks in MiB are of tensors, and of what torch reserved for "
        "them; a GPU needs more, for CUDA's context (about 500) and the workspaces of "
        "convolutions."
    )
    head = ["config", "launches", "", "fills and copies", "waits", "MB to the GPU"]
    head += ["peak", "", "reserved", ""]
    texts = [about]
    for kind in ("step", "picture"):
        names = f"One {'training step' if kind == 'step' else 'evaluated picture'}"
        lines = [["", "fp32", "bf16", "", "", "", "fp32", "bf16", "fp32", "bf16"]]
        lines += [_line(config, *(rows[f"{kind} {amp}"] for amp in ("fp32", "bf16")))
                  for config, rows in found.items()]  # fmt: skip
        texts.append(f"{names}:\n\n{table(head, lines, left=1)}")
    return "\n\n".join(texts)


def _line(config: str, full: Row, half: Row) -> list[str]:
    short = config.replace("_uda_warm_fdthings_rcs_croppl_a999", "")
    numbers = [full["launches"], half["launches"], full["fills"] + full["device_copies"]]
    memory = [row[name] for name in ("peak_mib", "reserved_mib") for row in (full, half)]
    megabytes = f"{full['uploaded_bytes'] / 1e6:.0f}"
    cells = [f"{n:,}" for n in (*numbers, full["waits"])]
    return [f"`{short}`", *cells, megabytes, *(f"{n:,}" for n in memory)]


def main() -> int:
    """Measure, and write or compare; exit status 1 if a budget is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="replace the budgets")
    options = parser.parse_args()
    if sentence := build.missing():
        print(sentence, file=sys.stderr)
        return 2
    found = measure_all(cases())
    if options.write:
        write(found)
        return 0
    torch_version, budgets = read()
    if torch_version != version():
        print(f"The budgets are those of torch {torch_version}, not {version()}.")
    lines = [
        f"{config}, {name}: {sentence}"
        for config, rows in found.items()
        for name, row in rows.items()
        for sentence in exceeded(row, budgets[config][name])
    ]
    print("\n".join(lines) or "All budgets are kept.")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
