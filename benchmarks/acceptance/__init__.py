"""The parts of `benchmarks/gpu_acceptance.py`: measurements, the clock, the report.

Proofs, recordings and small runs come from the tests, whose folders this file puts on the path.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("", "benchmarks", "tests", "tests/golden", "tests/helpers")

sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS if str(ROOT / folder) not in sys.path]
