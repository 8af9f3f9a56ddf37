"""Reading checkpoints of this program and of its family into a network."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mmseg.engine.checkpoint import (
    CheckpointError,
    load_start,
    load_weights,
    network_state,
    read_checkpoint,
    student_state,
    teacher_state,
)
from mmseg.engine.checkpoint_folder import resume_path


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


def scales(attention: bool = True) -> nn.Module:
    """A network with the parts of HRDA around the head of `one_scale`."""
    head = nn.ModuleDict({"head": nn.Linear(3, 4)})
    if attention:
        head["scale_attention"] = nn.Linear(3, 5)
    return nn.ModuleDict({"backbone": nn.Linear(2, 3), "decode_head": head})


def one_scale(width: int = 3) -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Linear(2, 3), "decode_head": nn.Linear(width, 4)})


@pytest.mark.parametrize("attention", [True, False])
def test_hrda_starts_from_a_network_of_one_scale_and_says_what_it_lacks(
    tmp_path: Path, attention: bool
) -> None:
    start, network = one_scale(), scales(attention)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = {f"model.{k}": v for k, v in start.state_dict().items()}
    torch.save({"state_dict": state | {"ema_model.decode_head.x": torch.ones(1)}}, tmp_path / "a")
    said = load_start(network, tmp_path / "a")
    lacks = ": decode_head.scale_attention.* keeps its initial weights." if attention else "."
    assert said == f"Loaded the student's weights from {tmp_path}/a. They are of one scale{lacks}"
    after = network.state_dict()
    for key, value in start.state_dict().items():
        assert torch.equal(after[key.replace("decode_head.", "decode_head.head.")], value)
    for key in (key for key in before if "scale_attention" in key):
        assert torch.equal(after[key], before[key])


def test_other_starts_have_to_fit_completely(tmp_path: Path) -> None:
    """Only the attention may be missing, and only if the file is of one scale altogether."""
    for name, saved in (("one", one_scale()), ("two", scales()), ("wide", one_scale(9))):
        torch.save(saved.state_dict(), tmp_path / name)
    whole = {f"Loaded the student's weights from {tmp_path / name}." for name in ("one", "two")}
    assert {load_start(one_scale(), tmp_path / "one"), load_start(scales(), tmp_path / "two")} == (
        whole
    )
    state = scales().state_dict()
    torch.save({k: v for k, v in state.items() if "attention" not in k}, tmp_path / "part")
    with pytest.raises(CheckpointError, match="missing: decode_head.scale_attention.weight"):
        load_start(scales(), tmp_path / "part")
    headless = {k: v for k, v in one_scale().state_dict().items() if k != "decode_head.bias"}
    torch.save(headless, tmp_path / "headless")
    with pytest.raises(CheckpointError, match="missing: decode_head.head.bias"):
        load_start(scales(), tmp_path / "headless")
    with pytest.raises(CheckpointError, match="unexpected: decode_head.head.weight"):
        load_start(one_scale(), tmp_path / "two")
    with pytest.raises(CheckpointError, match=r"decode_head.head.weight \(4, 9\) instead of"):
        load_start(scales(), tmp_path / "wide")


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
