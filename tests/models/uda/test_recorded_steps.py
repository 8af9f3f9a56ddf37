"""Whole training steps of DACS, HRDA, CDDA and MIC against the recorded reference.

Ours are computed in float64, so that they are the same on every processor. The deviations that the
tolerances allow are those of the recordings, in float32 unless stated.
"""

from pathlib import Path

import pytest
import torch
from recorded_steps import (
    EXACT,
    FIRST,
    NEAR_RELUS,
    SECOND,
    Tolerance,
    bank_file,
    build,
    check_steps,
    records,
)


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bank_file(tmp_path_factory.mktemp("bank"))


@pytest.mark.parametrize(
    ("case", "tolerances"),
    [
        ("source_only", (FIRST, SECOND)),
        ("daformer", (FIRST, SECOND)),
        ("daformer_noFD", (FIRST, SECOND)),
        ("hrda", (FIRST, SECOND)),
        ("cdda_daformer_lowthr", (FIRST, SECOND)),
        ("cdda_hrda_syn", NEAR_RELUS),
        ("mic_daformer_separate", (FIRST, SECOND)),
        ("mic_daformer_ownteacher", (FIRST, SECOND)),
    ],
)
def test_two_steps_equal_the_recorded_ones(
    case: str, tolerances: tuple[Tolerance, ...], bank_path: Path
) -> None:
    entry = records()[case]
    uda = build(entry, bank_path, dtype=torch.float64, reference_quirks=True)
    check_steps(uda, entry, tolerances)


@pytest.mark.parametrize(
    ("case", "tolerances"),
    [
        ("mic_daformer_separatesrc", (EXACT,)),
        ("mic_daformer_separatesrcaug", (EXACT,)),
        ("mic_daformer_separatetrg", (EXACT,)),
        ("mic_daformer_separatetrgaug", (EXACT,)),
        ("dacs_srconly_mic", (EXACT, EXACT)),
    ],
)
def test_steps_of_every_mask_mode_equal_those_recorded_in_float64(
    case: str, tolerances: tuple[Tolerance, ...]
) -> None:
    entry = records("J2 float64")[case]
    check_steps(build(entry, dtype=torch.float64), entry, tolerances)
