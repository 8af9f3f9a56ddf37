"""Training that is killed, stopped or out of space goes on as if nothing had happened.

`struck_runs` starts, strikes and compares; every strike is followed by a start with
`--resume auto`, and the end is compared with a run that nobody disturbed.
"""

import random
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("needs /proc and prlimit", allow_module_level=True)
from struck_runs import KINDS, SIGNALS, Report, campaign, write_material


def expect_the_same_run(report: Report, kinds: list[str]) -> None:
    assert report.mismatches == []
    assert report.faults == []
    assert report.strikes == {kind: kinds.count(kind) for kind in kinds}
    # The undisturbed one, then at least one that came to its end through all of these.
    assert report.courses >= 2
    assert report.starts >= len(kinds) + report.courses


def test_every_kind_of_interruption_ends_with_the_undisturbed_weights(tmp_path: Path) -> None:
    """Three kills, one of them while a checkpoint is being written; both signals; a full disk."""
    kinds = ["kill", "saving", "SIGTERM", "full", "SIGUSR1", "kill"]
    assert set(kinds) == set(KINDS)
    report = campaign(write_material(tmp_path), tmp_path / "runs", kinds, seed=1, share=0.5)
    expect_the_same_run(report, kinds)
    assert report.cut_saves >= kinds.count("saving")


@pytest.mark.slow
def test_thirty_kills_end_with_the_undisturbed_weights(tmp_path: Path) -> None:
    kinds = ["kill", "saving"] * 15 + [*SIGNALS, "full"] * 2
    random.Random(3).shuffle(kinds)
    report = campaign(write_material(tmp_path), tmp_path / "runs", kinds, seed=3, share=0.8)
    expect_the_same_run(report, kinds)
    assert report.cut_saves >= kinds.count("saving")
