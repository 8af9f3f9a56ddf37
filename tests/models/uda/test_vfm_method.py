"""What holds for VFM-UDA(++) and CDDA on it, whatever the numbers are."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import vfm_steps
from golden_init import arr, blocky_labels
from torch import Tensor, nn
from vfm_steps import DISTANCE, SIDE, loader_batch, method, records

from mmseg.engine.checkpoint import student_state
from mmseg.models import build_segmentor, build_train_model
from mmseg.models.uda import Draws
from mmseg.models.uda.base import Step, StepOutput, UDABatch
from mmseg.models.uda.masking import BlockMasks, TokenMasks
from mmseg.models.uda.passes import StudentPasses
from mmseg.system.errors import ConfigError

LIGHT: dict[str, Any] = {
    "type": "EncoderDecoder",
    "backbone": {
        "type": "TIMMBackbone",
        "model_name": vfm_steps.PLAIN,
        "model_kwargs": vfm_steps.TINY,
        "inner_size": 210,
        "mask_token": True,
        "final_norm": True,
    },
    "decode_head": {**vfm_steps.MODEL["decode_head"], "type": "LightHead"},
}
TOKENS = {"mask_generator": {"type": "token", "mask_ratio": 0.7}, "mask_mode": "separatesrc"}


# Masks


class RecordedTokens(Draws):
    def keep_grid(self, batch: int, rows: int, columns: int, mask_ratio: float) -> Tensor:
        drawn = arr("V:plain_network:mask", (batch, rows * columns), "uniform")
        return torch.from_numpy(drawn >= mask_ratio).view(batch, 1, rows, columns).double()


def test_loss_with_masked_tokens_equals_the_recorded_one() -> None:
    """Of the 15 by 15 patches of the resized image; the mask token learns."""
    record = records()["plain_network"]["out"]
    cfg = method(TOKENS)
    cfg["model"] = LIGHT
    uda: Any = build_train_model(cfg)
    vfm_steps.fill(uda.model, "V:plain:")
    uda.double()
    names = [f"V:plain_network:gt{b}" for b in range(2)]
    labels = [blocky_labels(name, SIDE, SIDE, range(19), 16, 0.05) for name in names]
    label = torch.from_numpy(np.stack(labels))[:, None]
    image = torch.from_numpy(arr("V:plain_network:img", (2, 3, SIDE, SIDE))).double()
    data, output = UDABatch(image, [], label, image, [], None, None), StepOutput()
    step = Step(data, 0, RecordedTokens(), output)
    uda.mic.train_on(StudentPasses(uda.model, step), None)
    loss = output.losses["masked.decode.loss_seg"].item()
    assert loss == pytest.approx(record["masked_loss"]["f64"], rel=1e-6)
    norm = record["masked_gradnorm"]["f64"]["encoder.mask_token"]
    assert uda.model.backbone.mask_token.grad.norm().item() == pytest.approx(norm, rel=1e-5)


def backbone_of(inner_size: Any) -> Any:
    return SimpleNamespace(settings=SimpleNamespace(inner_size=inner_size))


@pytest.mark.parametrize(
    ("inner_size", "grid"), [(1120, (18, 18)), ((224, 448), (4, 7)), (None, (2, 5))]
)
def test_blocks_inside_are_of_the_resized_image(inner_size: Any, grid: tuple[int, int]) -> None:
    """Its side over 64, rounded to even: 17.5 becomes 18. Without a size, of the image itself."""
    image = torch.zeros(3, 3, 128, 320)
    masks = BlockMasks(0.7, 64, at="inner")
    kept = masks.inside(backbone_of(inner_size), image, Draws(1))
    assert kept.shape == (3, 1, *grid)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(kept, Draws(1).keep_grid(3, *grid, 0.7))


def test_masks_that_do_not_fit_are_refused() -> None:
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ConfigError, match="at most as large as the crops of 20x20, got 64"):
        BlockMasks(0.7, 64, at="inner").inside(backbone_of(20), image, Draws())
    with pytest.raises(ConfigError, match="got Identity without; set mask_token=True of a TIMM"):
        TokenMasks(0.7).inside(nn.Identity(), image, Draws())


# Methods


def test_cdda_without_a_bank_is_vfmudapp_bit_by_bit() -> None:
    """Every gradient of a step with all its parts drawn by the seed."""
    idle = {"dataset": "gta", "reweight_threshold": 0.5, "relabel_threshold": 0.4}
    found = []
    for changes in ({}, {"matrix_path": None, **idle}):
        torch.manual_seed(3)
        uda: Any = build_train_model(method(changes, DISTANCE))
        depth = {"target_depth": vfm_steps.target_depth()} if changes else {}
        batch = {**loader_batch("step", 0, torch.float32), **depth}
        output = uda.accumulate_gradients(batch, 0, uda.make_draws(0, seed=7))
        gradients = {k: p.grad for k, p in uda.named_parameters() if p.grad is not None}
        found.append({**gradients, **output.losses})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert "vfm_distance.feat_project.3.weight" in found[0]


def test_the_students_weights_alone_are_those_of_a_network_to_test() -> None:
    uda: Any = build_train_model(method({}, DISTANCE))
    state = student_state(uda.state_dict())
    assert state.keys() == build_segmentor(vfm_steps.MODEL).state_dict().keys()


def test_the_log_tells_what_differs_from_dacs() -> None:
    lines = build_train_model(method({}, DISTANCE)).describe()
    for words in ("source strongly", "mirror image", "all processes", "of the resized image"):
        assert any(words in line for line in lines), words
    assert "reg4_dinov2 (RANDOM weights, allows_random=True): 0.1 on the source" in lines[-1]
    lines = build_train_model(method({"reference_quirks": True})).describe()
    assert any("As RELEASED by VFM-UDA" in line and "V1" in line for line in lines)
    plain = {"jitter": None, "strong_source": False, "teacher_flip": False}
    assert len(build_train_model(method(plain)).describe()) == 2


def test_released_behavior_leaves_each_process_its_own_statistics() -> None:
    """V2; of this family alone, because the released code of the others never shared them."""
    for jitter, quirks, shares, classes in (
        ("torchvision", False, True, True),
        ("torchvision", True, False, False),
        (None, True, True, False),
        (None, False, True, False),
    ):
        changes = {"jitter": jitter, "reference_quirks": quirks, "strong_source": False}
        uda: Any = build_train_model(method(changes))
        assert uda.teacher.is_shared == shares
        assert uda.model.decode_head.loss_decode.counts_all_processes == shares
        assert uda.make_draws(0).shares_classes == classes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"jitter": None}, "expected uda.jitter='torchvision' with uda.strong_source=True"),
        ({"jitter": "kornia"}, "jitter.*got 'kornia'"),
        ({"vfm_feature_dist": {"model_name": "x", "sise": 4}}, "did you mean 'size'"),
        ({"mask_generator": {"type": "token"}}, "needs the key 'mask_ratio'"),
    ],
)
def test_wrong_settings_end_in_a_sentence(changes: dict[str, Any], words: str) -> None:
    cfg = method({})
    cfg["uda"].update(changes)
    with pytest.raises(ConfigError, match=words):
        build_train_model(cfg)
