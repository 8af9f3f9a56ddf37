"""What `tools/analyze_logs.py` says of runs, worked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import analyze_logs


def train(iteration: int, **values: Any) -> dict[str, Any]:
    usual = {"mode": "train", "iter": iteration, "lr": 0.1, "memory": 900}
    return usual | {"data_time": 0.0, "time": 2.0, "loss_scale": 512.0} | values


def val(iteration: int, score: float | None) -> dict[str, Any]:
    return {"mode": "val", "iter": iteration, "mIoU": score}


def write(folder: Path, *starts: list[dict[str, Any]]) -> None:
    folder.mkdir()
    for number, start in enumerate(starts):
        lines = "\n".join(map(json.dumps, start)) + '\n{"mode": "train", "it'
        (folder / f"2026010{number}_000000.log.json").write_text(lines)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`resumed` repeats iteration 50 after a resume; `short` has one line."""
    monkeypatch.chdir(tmp_path)
    anew = [train(10, time=99.0), val(10, 0.9)]
    first = [train(10, time=9.0), train(30, time=1.0, data_time=0.5), train(50, l_loss=7.0)]
    first.append(val(30, 0.5))
    second = [train(50, l_loss=1.0, time=9.0, memory=1100), train(60, time=4.0, data_time=2.0)]
    second += [train(100, l_loss=3.0, time=1.0), val(60, None), val(100, 0.25)]
    write(tmp_path / "resumed", anew, first, second)
    write(tmp_path / "short", [train(5, memory=None, l_loss=2.0, m_loss=6.0)])
    return tmp_path


def test_the_numbers_are_those_of_the_logs(runs: Path, capsys: Any) -> None:
    """20 iterations of 1 s, 20 of 2 s, 10 of 4 s and 40 of 1 s are 140 s, 30 of them waiting."""
    assert analyze_logs.main(["resumed", "short", "--json", "out.json"]) == 0
    resumed, short = json.loads(Path("out.json").read_text())["runs"]
    assert resumed == {
        "run": "resumed",
        "iterations": 100,
        "resumes": 1,
        "mean_seconds": pytest.approx(140 / 90),
        "median_seconds": 1.5,
        "least_seconds": 1.0,
        "data_share": pytest.approx(30 / 140),
        "peak_memory_mb": 1100,
        "last": {"iteration": 100, "mIoU": 0.25},
        "best": {"iteration": 30, "mIoU": 0.5},
        "losses": {"l_loss": 3.0},
    }
    assert {key for key, value in short.items() if value is None} == {
        *("mean_seconds", "median_seconds", "least_seconds", "data_share", "peak_memory_mb"),
        *("last", "best"),
    }
    said = capsys.readouterr().out
    assert said.startswith("1: resumed\n2: short\n+")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines()]
    assert ["mIoU, best", "50.00 (30)", "–"] in rows
    assert ["waiting for data", "21.4 %", "–"] in rows
    assert ["m_loss, last 10 %", "–", "6.0000"] in rows


def test_losses_of_a_repeated_iteration_are_those_of_the_later_start(runs: Path) -> None:
    log = Path("resumed/20260102_000000.log.json")
    log.write_text(json.dumps(train(50, l_loss=1.0)))
    assert analyze_logs.analyze("resumed").losses == {"l_loss": 1.0}
    assert analyze_logs.analyze(log).resumes == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], r"^FileNotFoundError: expected a log .* in none, got none\. Give the work"),
        (["empty"], r"^ConfigError: expected records of iterations in the log of 'empty', got non"),
        (["plot_curve", "x"], r"of runs, got 'plot_curve', .* Use python tools/plot_curves\.py"),
        (["short", "--json", "short/20260100_000000.log.json"], "--json apart from what the comm"),
        (["short", "--json", "mine.txt"], "'mine.txt', which holds something else"),
    ],
)
def test_wrong_input_ends_in_a_sentence(words: list[str], message: str, runs: Path) -> None:
    (runs / "empty").mkdir()
    (runs / "empty/a.log.json").touch()
    Path("mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match=message):
        analyze_logs.main(words)
