"""Reading checkpoints of this program and of its family into a network."""

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmseg.engine.checkpoint import CheckpointError, load_weights, read_checkpoint, student_state
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


def test_meta_of_the_family_may_hold_numpy_scalars(tmp_path: Path) -> None:
    """hook_msgs.best_score is a numpy.float64; the file may come from numpy 1 or 2."""
    meta = {"iter": 7, "epoch": 1, "CLASSES": ("a", "b"), "hook_msgs": {"best": np.float64(0.5)}}
    content = {"meta": meta, "state_dict": collections.OrderedDict(network().state_dict())}
    torch.save(content, tmp_path / "new.pth")
    assert read_checkpoint(tmp_path / "new.pth")["meta"]["hook_msgs"]["best"] == 0.5
    torch.save(content, tmp_path / "old.pth", pickle_module=OldNumpyPickle)
    assert b"numpy.core.multiarray" in (tmp_path / "old.pth").read_bytes()
    assert read_checkpoint(tmp_path / "old.pth")["meta"]["hook_msgs"]["best"] == 0.5


class OldNumpyPickle:
    """Pickles numpy scalars under the name that they had before numpy 2."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def save_global(self, obj: Any, name: str | None = None) -> None:
            if getattr(obj, "__module__", None) == "numpy._core.multiarray":
                self.write(
                    pickle.GLOBAL + b"numpy.core.multiarray\n" + obj.__name__.encode() + b"\n"
                )
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    @staticmethod
    def dump(obj: Any, file: Any, protocol: int = 2) -> None:
        OldNumpyPickle.Pickler(file, protocol).dump(obj)


def test_a_bare_state_dict_is_a_checkpoint_without_meta(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "bare.pth")
    assert load_weights(network(), tmp_path / "bare.pth") == {}


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "meta": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="expected a checkpoint of tensors and plain values"):
        read_checkpoint(tmp_path / "code.pth")


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
    (tmp_path / "latest.pth").touch()
    assert resume_path("auto", tmp_path, None) == tmp_path / "latest.pth"
    assert resume_path("none", tmp_path, "x.pth") is None
    assert resume_path(None, tmp_path, "x.pth") == Path("x.pth")
    assert resume_path("y.pth", tmp_path, "x.pth") == Path("y.pth")
