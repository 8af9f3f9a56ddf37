"""The distance to a frozen foundation model against the recorded reference (golden V)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vfm_steps
from golden_init import arr
from torch import Tensor, nn
from vfm_steps import arrays, records

from mmseg.models import build_train_model
from mmseg.models.layers import resize
from mmseg.models.uda.vfm_distance import VFMDistance, cell_distance
from mmseg.system.errors import ConfigError


def check(name: str, got: Tensor) -> None:
    record = records()["fd"]["out"][name]
    assert list(got.shape) == record["shape"]
    found = got.detach().flatten()[:: record["step"]]
    np.testing.assert_allclose(found, arrays()[f"fd/{name}/f64"], rtol=1e-6, atol=1e-6)


def test_distance_and_its_gradient_equal_the_recorded_ones(tmp_path: Path) -> None:
    keys = {
        **vfm_steps.DISTANCE,
        "pretrained": vfm_steps.frozen_file(tmp_path / "f.pth", "V:fd:fx:"),
    }
    distance = build_train_model(vfm_steps.method({}, keys)).vfm_distance
    distance.init_weights()
    vfm_steps.fill_projection(distance.feat_project, "V:fd:fh:")
    distance.double()
    image = torch.from_numpy(arr("V:fd:img", (2, 3, 192, 192))).double()
    feature = torch.from_numpy(arr("V:fd:f4", (2, 128, 7, 7))).double().requires_grad_()
    frozen = distance.encoder(image)[-1]
    check("frozen", frozen)
    projected = resize(distance.feat_project(feature), (29, 29))
    check("projected", projected)
    cells = cell_distance(projected, frozen)
    check("per_cell", cells)
    cells.mean().backward()
    check("grad_f4", feature.grad)
    for name in ("0.weight", "0.bias", "1.weight"):
        norm = records()["fd"]["out"][f"gradnorm:feat_project.{name}"]["f64"]
        found = distance.feat_project.get_parameter(name).grad.norm().item()
        assert found == pytest.approx(norm, rel=1e-6)


def test_encoder_never_learns_and_keeps_its_mode_and_the_projection_learns() -> None:
    uda: Any = build_train_model(vfm_steps.method({}, vfm_steps.DISTANCE))
    assert not uda.train().vfm_distance.encoder.training
    trained = {id(p) for p in uda.trainable_parameters()}
    assert trained.isdisjoint(map(id, uda.vfm_distance.encoder.parameters()))
    assert trained.issuperset(map(id, uda.vfm_distance.feat_project.parameters()))
    assert not any("vfm" in key for key in uda.model.state_dict())


def test_a_weight_of_0_and_source_only_leave_a_domain_out() -> None:
    kept = {"src": 0.1, "tgt": 0.1}
    for changes, only in (({}, kept), ({"source_only": True}, {"src": 0.1})):
        changes = {**changes, "mask_mode": None}
        uda: Any = build_train_model(vfm_steps.method(changes, vfm_steps.DISTANCE))
        assert uda.vfm_distance.weights == only


def test_networks_without_an_order_of_features_are_refused() -> None:
    student = nn.Module()
    student.backbone = nn.Identity()
    with pytest.raises(ConfigError, match="vfm_feature_dist, got Module with Identity. Use one"):
        VFMDistance(None, None, student)
