"""Every method of the family on every network: resumed exactly, alone and on two processes."""

import os
import signal
from pathlib import Path
from typing import Any

import family_runs
import paired_runs
import pytest
import small_runs
import tiny_run
from paired_runs import BREAK, END

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.models.uda.base import TrainingMethod
from mmseg.system.interruption import RunInterrupted

# The other methods run in the fast suite, too: see test_resume.
FAST = [("source_only_mic", "daformer"), ("minent_mic", "hrda"), ("advseg_mic", "deeplabv2")]
FAST += [("cdda_vfm", "vit_adapter")]
ALL = [(method, network) for method in family_runs.METHODS for network in family_runs.NETWORKS]
ALL += list(family_runs.FOUNDATION_METHODS.items())
SLOW = [case for case in ALL if case not in FAST]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    family_runs.write_material(root)
    return root


def values(material: Path, case: tuple[str, str], **data: int) -> dict[str, Any]:
    return family_runs.config(material, *case, runner={"max_iters": END}, data=data)


@pytest.mark.parametrize("case", [*FAST, *(pytest.param(c, marks=pytest.mark.slow) for c in SLOW)])
def test_two_iterations_and_two_resumed_ones_are_four(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str]
) -> None:
    def train(name: str) -> None:
        run_training(Config(values(material, case)), TrainOptions(tmp_path / name, resume="auto"))

    train("whole")
    make_draws = TrainingMethod.make_draws

    def with_signal(method: Any, number: int, *arguments: Any) -> Any:
        if number == BREAK - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_draws(method, number, *arguments)

    with monkeypatch.context() as patch, pytest.raises(RunInterrupted):
        patch.setattr(TrainingMethod, "make_draws", with_signal)
        train("broken")
    assert read_checkpoint(tmp_path / "broken/latest.pth")["iteration"] == BREAK
    train("broken")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert small_runs.differences(whole / "latest.pth", broken / "latest.pth") == []
    assert small_runs.logged(whole) == small_runs.logged(broken)
    check_state(case[0], read_checkpoint(whole / "latest.pth"))


def check_state(method: str, checkpoint: dict[str, Any]) -> None:
    """Check that the checkpoint holds the networks and optimizers that the method changes."""
    networks = {key.split(".")[0] for key in checkpoint["state_dict"]}
    kind = method.split("_")[0]
    expected = {"model"}
    if kind in ("dacs", "daformer", "cdda", "vfmuda", "vfmudapp"):
        expected |= {"ema_model"}
    if method in ("vfmudapp", "cdda_vfm"):
        expected |= {"vfm_distance"}
        assert not any(".encoder." in key for key in checkpoint["state_dict"])
    if kind == "advseg":
        expected |= {"model_D"}
    if method in ("minent_mic", "advseg_mic", "daformer_mic_teacher"):
        expected |= {"mic"}
    assert networks == expected
    own = checkpoint.get("own_optimizers") or {}
    assert list(own) == (["model_D.main"] if kind == "advseg" else [])


@pytest.mark.parametrize("cases", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_two_processes_agree_and_resume_exactly(
    material: Path, tmp_path: Path, cases: list[tuple[str, str]]
) -> None:
    names = ["_".join(case) for case in cases]
    for name, case in zip(names, cases, strict=True):
        section = values(material, case, samples_per_gpu=1)
        tiny_run.write_config(tmp_path / f"{name}.py", section)
    paired_runs.run(tmp_path, dict.fromkeys(names, (0,)))
    for name in names:
        whole, broken = tmp_path / name / "whole", tmp_path / name / "broken0"
        assert small_runs.differences(whole / "latest.pth", broken / "latest.pth") == []
        assert small_runs.logged(whole) == small_runs.logged(broken)
        first, second = (paired_runs.outcomes(tmp_path, rank, name) for rank in (0, 1))
        assert first["whole"] == second["whole"] == first["0"][1] == second["0"][1]
        assert f"iteration {BREAK}" in first["0"][0]
        assert "SIGUSR1" in first["0"][0]
