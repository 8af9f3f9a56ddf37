"""The parts of `benchmarks/gpu_acceptance.py`: proofs, measurements, the clock, the report.

They need what the project needs at run time. Recordings and small training runs are those of the
tests, whose folders are put on the path here.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("", "benchmarks", "tests", "tests/engine", "tests/golden", "tests/helpers")

sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS if str(ROOT / folder) not in sys.path]
