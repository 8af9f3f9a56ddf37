"""Measure the memory of the published configs, for `--fit` to choose by.

python benchmarks/stub_gpu/peaks.py [CONFIG…]

Writes `mmseg/engine/fit_peaks.json`: MiB of a training step by config and by what is switched on,
with the config's own crop and batch. Named configs replace their entries only. The numbers leave
out the workspaces of cuDNN's convolutions and the context of CUDA (about 500 MiB).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

import torch  # noqa: E402

from mmseg.system.files import write_json  # noqa: E402
from stub_gpu.cases import RECOMPUTING, ROOT, Case, published, recomputing  # noqa: E402
from stub_gpu.child import measure  # noqa: E402

FILE = ROOT / "mmseg/engine/fit_peaks.json"


def variants(config: str) -> dict[str, Case]:
    """Return what is measured of a config, by its name in the file."""
    options = {"": {}, f"+{RECOMPUTING}": recomputing(config)}
    return {
        f"{precision}{suffix}": Case(config, amp, switched)
        for suffix, switched in options.items()
        for precision, amp in (("fp32", None), ("bf16", "bf16"))
    }


def peaks_of(config: str) -> dict[str, Mapping[str, int]]:
    """Return the file's entry of a config; what it refuses to switch on is named and left out."""
    cases, entry = variants(config), {}
    for name, row in zip(cases, measure(list(cases.values())), strict=True):
        if "refused" not in row:
            entry[name] = {key: row[key] for key in ("peak_mib", "reserved_mib")}
        print(f"{config} {name}: {entry.get(name, row)}", flush=True)
    return entry


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and replace the entries in the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("configs", nargs="*", help="such as cdda/gta2cs_cdda_daformer")
    configs = parser.parse_args(arguments).configs or published()
    for config in configs:
        found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
        entries = {**found.get("configs", {}), config: peaks_of(config)}
        write_json(FILE, {"torch": torch.__version__, "configs": entries})


if __name__ == "__main__":
    main()
