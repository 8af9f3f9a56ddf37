"""Ten iterations of every demo config are the recorded ones, on any machine."""

import copy
from pathlib import Path
from typing import Any

import curves
import pytest
import record_curves


@pytest.mark.parametrize("name", curves.NAMES)
def test_ten_iterations_are_those_recorded(name: str, tmp_path: Path) -> None:
    curve = curves.train_curve(name, tmp_path)
    recorded = curves.recorded(name)
    deviations = curves.largest_deviation(curve, recorded)
    assert curves.changes(curve, recorded) == [], deviations


def test_every_recording_belongs_to_a_config() -> None:
    assert {path.stem for path in curves.RECORDINGS.iterdir()} == set(curves.NAMES)


@pytest.mark.parametrize("name", [n for n in curves.NAMES if n.startswith("cdda")])
def test_all_of_cdda_runs_for_some_images_and_not_for_others(name: str) -> None:
    recorded = curves.recorded(name)
    for part in ("reweighted", "replaced", "relabeled"):
        shares = {values[f"cdda.{part}"] for values in recorded}
        assert max(shares) > 0, part
        assert min(shares) < 1, part
    assert any("tgt.loss" in values for values in recorded)


@pytest.fixture
def own_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[curves.Curve, Path]:
    """A curve, and a recording of it in a folder of this test."""
    curve = curves.recorded("cdda_mic")
    monkeypatch.setattr(curves, "RECORDINGS", tmp_path)
    said = record_curves.record("cdda_mic", curve)
    assert said == "cdda_mic: recorded for the first time"
    return curve, tmp_path / "cdda_mic.json"


def test_recording_shows_where_each_value_first_changed(
    own_recording: tuple[curves.Curve, Path],
) -> None:
    """One rises by twice the tolerance of iteration 4, one vanishes in iteration 2."""
    old, _ = own_recording
    new = copy.deepcopy(old)
    new[3]["masked.decode.loss_seg"] *= 1 + 2 * curves.TOLERANCES[3]
    new[5]["masked.decode.loss_seg"] = 0.0
    del new[1]["mix.decode.loss_seg"]
    header, *rows = record_curves.record("cdda_mic", new).splitlines()
    assert header.split() == ["config", "value", "iteration", "was", "is"]
    masked, mixed = (old[i][f"{kind}.decode.loss_seg"] for i, kind in ((3, "masked"), (1, "mix")))
    assert sorted(row.split() for row in rows) == [
        ["cdda_mic", "masked.decode.loss_seg", "4", repr(masked), repr(masked * (1 + 2e-8))],
        ["cdda_mic", "mix.decode.loss_seg", "2", repr(mixed), "nothing"],
    ]
    assert curves.recorded("cdda_mic") == new


def test_recording_what_is_recorded_changes_nothing(
    own_recording: tuple[curves.Curve, Path], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Not even the file, by which the curve differs less than it may."""
    curve, file = own_recording
    before = file.read_bytes()
    rounded = [{k: v * (1 + 1e-12) for k, v in values.items()} for values in curve]
    monkeypatch.setattr(curves, "train_curve", lambda name, folder: rounded)
    record_curves.main(["cdda_mic"])
    assert capsys.readouterr().out == "cdda_mic: nothing changed\n"
    assert file.read_bytes() == before


def test_a_config_without_recording_says_how_to_make_it() -> None:
    with pytest.raises(FileNotFoundError, match=r"record_curves\.py new_config$"):
        curves.recorded("new_config")
