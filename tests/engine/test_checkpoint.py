"""Reading checkpoints of this program and of its family into a network."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mmseg.engine.checkpoint import (
    CheckpointError,
    load_weights,
    network_state,
    read_checkpoint,
    student_state,
    teacher_state,
)
from mmseg.engine.resume import resume_path


def network() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Linear(2, 3), "model_Dense": nn.Linear(3, 4)})


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "module.model.", "_orig_mod.model."])
def test_prefixes_around_the_student_are_taken_off(tmp_path: Path, prefix: str) -> None:
    saved, loaded = network(), network()
    state = {prefix + k: v for k, v in saved.state_dict().items()}
    for other in ("ema_model.", "imnet_model.", "mic.ema_model.", "model_D.0."):
        state |= {other + k: torch.zeros(5) for k in ("backbone.weight", "extra")}
        state |= {"module." + other + k: torch.zeros(5) for k in ("backbone.weight", "extra")}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    assert load_weights(loaded, tmp_path / "a.pth") == {}
    for key, value in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("inner", ["", "module.", "_orig_mod."])
def test_the_teacher_is_what_ema_model_holds(tmp_path: Path, prefix: str, inner: str) -> None:
    student, teacher, loaded = network(), network(), network()
    state = {f"{prefix}model.{k}": v for k, v in student.state_dict().items()}
    for other in ("imnet_model.", "mic.ema_model.", "model_D.0."):
        state |= {prefix + other + k: torch.zeros(5) for k in ("backbone.weight", "extra")}
    state |= {f"{prefix}ema_model.{inner}{k}": v for k, v in teacher.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    for which, saved in (("teacher", teacher), ("student", student)):
        load_weights(loaded, tmp_path / "a.pth", which)
        for key, value in saved.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value)


def test_a_checkpoint_without_the_network_wanted_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    torch.save({"state_dict": network().state_dict()}, path)
    with pytest.raises(CheckpointError) as caught:
        load_weights(network(), path, "teacher")
    assert str(caught.value) == (
        f"expected a teacher (keys starting with 'ema_model.') in the checkpoint {str(path)!r}, "
        "got none; test the student, or give a checkpoint of a self-training run."
    )
    only_teacher = {"ema_model.backbone.weight": torch.ones(2)}
    assert teacher_state(only_teacher).keys() == {"backbone.weight"}
    with pytest.raises(CheckpointError, match="expected a student .* got none; give a checkpoint"):
        network_state(only_teacher, "student", path)
    with pytest.raises(ValueError, match="expected a network among student, teacher, got 'both'"):
        network_state(only_teacher, "both", path)


def test_prefixes_are_anchored() -> None:
    """'model.' inside a name, and names that only begin like another network's, stay."""
    state = {"head.model.weight": torch.ones(1), "ema_models.weight": torch.ones(1)}
    assert list(student_state(state)) == ["head.model.weight", "ema_models.weight"]


def test_checkpoint_of_another_network_names_keys_and_shapes(tmp_path: Path) -> None:
    other = nn.ModuleDict({"backbone": nn.Linear(2, 5), "neck": nn.Linear(1, 1)})
    torch.save({"state_dict": other.state_dict()}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError) as caught:
        load_weights(network(), tmp_path / "other.pth")
    message = str(caught.value)
    assert "missing: model_Dense.weight, model_Dense.bias" in message
    assert "unexpected: neck.weight, neck.bias" in message
    assert "of another shape: backbone.weight (5, 2) instead of (3, 2)" in message
    assert "other.pth" in message


def test_a_bare_state_dict_is_a_checkpoint_without_meta(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "bare.pth")
    assert load_weights(network(), tmp_path / "bare.pth") == {}


def test_a_cut_off_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict()}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        read_checkpoint(tmp_path / "cut.pth")


def test_a_missing_checkpoint_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Train a run first"):
        read_checkpoint(tmp_path / "latest.pth")
    (tmp_path / "iter_8.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"The folder has iter_8\.pth"):
        read_checkpoint(tmp_path / "latest.pth")


def test_where_a_run_resumes_from(tmp_path: Path) -> None:
    assert resume_path("auto", tmp_path, "x.pth") is None
    assert resume_path("none", tmp_path, "x.pth") is None
    assert resume_path(None, tmp_path, "x.pth") == Path("x.pth")
    assert resume_path("y.pth", tmp_path, "x.pth") == Path("y.pth")
