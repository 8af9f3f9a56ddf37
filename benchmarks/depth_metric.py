"""Time of the depth metric of one iteration, on a random bank as sparse as real ones.

OMP_NUM_THREADS=1 python benchmarks/depth_metric.py --crops 24966 --runs 12
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from acceptance.parts import metric_calls  # noqa: E402
from training_step import device_name, wait  # noqa: E402


def main() -> None:
    """Measure every part and print the fastest of its runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--crops", type=int, default=24_966)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name, call in metric_calls(options.crops, device).items():
        seconds = []
        for _ in range(options.runs + 1):  # the first one allocates
            wait(device)
            start = time.perf_counter()
            call()
            wait(device)
            seconds.append(time.perf_counter() - start)
        print(f"| {name} | {device_name(device)} | {min(seconds[1:]) * 1e3:.3g} ms |")


if __name__ == "__main__":
    main()
