"""What holds for whole training steps of DACS and CDDA, whatever the numbers are."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorded_steps
import torch
from recorded_steps import GOLDEN, FixedDraws, bank_file, loader_batch, records
from torch import Tensor

from mmseg.config import load_config
from mmseg.datasets.byte_maps import narrowed
from mmseg.models import build_train_model
from mmseg.models.uda.base import UDABatch
from mmseg.models.uda.depthmetric import guidance, metric
from mmseg.models.uda.depthmetric.guidance import lower_excess
from mmseg.system.errors import ConfigError

KEYS = json.loads((GOLDEN / "A" / "keys.json").read_text())
BANK_CASE = "cdda_daformer_lowthr"


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bank_file(tmp_path_factory.mktemp("bank"))


def build(case: str, bank_path: Path, **changes: Any) -> Any:
    return recorded_steps.build(records()[case], bank_path, **changes)


@pytest.mark.parametrize("case", [BANK_CASE, "cdda_hrda_syn"])
def test_pseudo_labels_and_weights_equal_the_recorded_ones(case: str, bank_path: Path) -> None:
    """In float64, in which no pixel is close to a threshold."""
    stored = np.load(GOLDEN / "J" / f"{case}.npz")
    recorded = records()[case]["steps"][0]
    uda = build(case, bank_path, dtype=torch.float64, reference_quirks=True)
    data = loader_batch(0, dtype=torch.float64)
    uda.teacher.update(uda.model, 0)
    uda.train()
    pseudo = uda.teacher.label(data["target_img"], data["target_img_metas"])
    assert np.array_equal(pseudo.label, stored["0_pseudo_label"])
    assert pseudo.confident.sum() == recorded["n_large"]
    assert pseudo.weight.unique().tolist() == [recorded["pseudo_weight"]]
    match = uda.cdda.metric(pseudo.label, pseudo.weight, pseudo.confident, data["target_depth"], 0)
    np.testing.assert_allclose(match.weight, stored["0_pw_reweighted"], rtol=0, atol=1e-6)
    assert match.source_index.tolist() == recorded["idx"]


@pytest.mark.parametrize("name", sorted(KEYS["configs"]))
def test_state_of_the_method_has_the_recorded_keys(name: str) -> None:
    """Of all shipped configs; a bank is no part of the state, and is not here."""
    expected = KEYS["key_lists"][KEYS["configs"][name]["uda"]]
    cfg = load_config(GOLDEN.parents[1] / name)
    cfg.model["pretrained"] = cfg.uda["matrix_path"] = None
    with torch.device("meta"):
        state = build_train_model(cfg).state_dict()
    assert {k: list(v.shape) for k, v in state.items()} == {k: list(s) for k, s in expected}
    order = {name: place for place, (name, _) in enumerate(expected)}
    assert sorted(state, key=lambda key: order[key]) == list(state)


def test_inputs_are_not_changed(bank_path: Path) -> None:
    uda = build(BANK_CASE, bank_path)
    batch = loader_batch(0)
    before = copy.deepcopy(batch)
    uda.accumulate_gradients(batch, 0, uda.make_draws(0))
    for key, value in batch.items():
        assert not isinstance(value, Tensor) or torch.equal(value, before[key]), key


def test_teacher_and_imagenet_copy_get_no_gradient(bank_path: Path) -> None:
    uda = build("daformer", bank_path)
    uda.accumulate_gradients(loader_batch(0), 0, uda.make_draws(0))
    for network in (uda.ema_model, uda.imnet_model):
        assert all(p.grad is None for p in network.parameters())
    assert not uda.imnet_model.training


def test_autocast_halves_the_imagenet_copy_alone(bank_path: Path) -> None:
    uda = build("daformer", bank_path)
    uda.prepare_autocast(torch.bfloat16)
    assert uda.imnet_model.backbone.block1[0].attn.q.weight.dtype == torch.bfloat16
    for network in (uda.model, uda.ema_model):
        assert all(p.dtype == torch.float32 for p in network.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        output = uda.accumulate_gradients(loader_batch(0), 0, FixedDraws())
    assert output.losses["src.loss_imnet_feat_dist"].isfinite()
    assert all(p.dtype == torch.float32 for p in uda.ema_model.parameters())


def test_batches_may_come_in_bytes() -> None:
    whole = loader_batch(0)
    sent = narrowed(whole)
    assert sent["gt_semantic_seg"].dtype == torch.uint8
    expected, found = UDABatch.from_loader(whole), UDABatch.from_loader(sent)
    for name in ("label", "target_depth"):
        assert getattr(found, name).dtype == getattr(expected, name).dtype
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_step_is_a_function_of_seed_and_iteration(bank_path: Path) -> None:
    """Dropout, stochastic depth, mixing and augmentation follow from the draws alone."""
    changes = {"blur": True, "color_jitter_probability": 0.2}
    results = []
    for noise in (1, 2):
        uda = build("daformer_noFD", bank_path, dropout=0.3, **changes)
        torch.manual_seed(noise)
        output = uda.accumulate_gradients(loader_batch(0), 0, uda.make_draws(3, seed=5))
        results.append({k: v.item() for k, v in output.losses.items()})
    assert results[0] == results[1]


def test_guidance_gives_untrusted_margins_no_weight(bank_path: Path) -> None:
    """Q5: with every row a margin the guidance loss is 0; the released behavior trains on it."""
    losses = []
    for quirks in (False, True):
        uda = build(
            BANK_CASE, bank_path,
            pseudo_weight_ignore_top=128, reference_quirks=quirks,
        )  # fmt: skip
        output = uda.accumulate_gradients(loader_batch(0), 0, FixedDraws())
        losses.append(output.losses["tgt.loss"].item())
    assert losses[0] == 0
    assert losses[1] > 0


def test_soft_target_is_lowered_exactly_once(
    bank_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a step it is lowered by the loss alone."""
    calls = []

    def counted(target: Tensor) -> Tensor:
        calls.append(target)
        return lower_excess(target)

    for module in (guidance, metric):
        monkeypatch.setattr(module, "lower_excess", counted)
    uda = build(BANK_CASE, bank_path)
    output = uda.accumulate_gradients(loader_batch(0), 0, FixedDraws())
    assert output.losses["tgt.loss"] > 0
    assert len(calls) == 1
    assert (calls[0].sum(1) > 1).any()


def test_padded_target_pixels_have_no_weight(bank_path: Path) -> None:
    uda = build("daformer_noFD", bank_path)
    batch = loader_batch(0)
    batch["target_img_metas"] = [{"img_shape": (100, 128, 3)}, {"img_shape": (128, 90, 3)}]
    output = uda.accumulate_gradients(batch, 0, FixedDraws())
    weight, pasted = output.pictures["mixed_weight"], output.pictures["domain_mask"].bool()
    assert weight[0, 100:][~pasted[0, 100:]].sum() == 0
    assert weight[1, :, 90:][~pasted[1, :, 90:]].sum() == 0
    assert weight[0, 50:90][~pasted[0, 50:90]].min() > 0


def test_margins_from_two_places_are_an_error(bank_path: Path) -> None:
    uda = build("daformer_noFD", bank_path)
    batch = loader_batch(0)
    batch["valid_pseudo_mask"] = torch.ones(2, 1, 128, 128, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="crop_pseudo_margins"):
        uda.accumulate_gradients(batch, 0, FixedDraws())


def test_depth_metric_without_depth_is_an_error(bank_path: Path) -> None:
    uda = build(BANK_CASE, bank_path)
    batch = loader_batch(0)
    del batch["target_depth"]
    with pytest.raises(ConfigError, match="dep_dir"):
        uda.accumulate_gradients(batch, 0, FixedDraws())


def test_broken_set_up_ends_the_run_at_the_start(bank_path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Create them with: python run_seg\.py"):
        build(BANK_CASE, tmp_path / "nowhere.pth")
    short = torch.load(bank_path, weights_only=True)
    torch.save(torch.cat([short, short]), tmp_path / "long.pth")
    with pytest.raises(FileNotFoundError, match="expected 40 source crops"):
        build(BANK_CASE, tmp_path / "long.pth")
    torch.save(short[:, :16], tmp_path / "narrow.pth")
    with pytest.raises(ConfigError, match="expected 19 classes as in the network, got 16"):
        build(BANK_CASE, tmp_path / "narrow.pth")


def test_misspelt_key_names_the_nearest(bank_path: Path) -> None:
    with pytest.raises(ConfigError, match="'matrx_path' .*did you mean 'matrix_path'"):
        build("daformer", bank_path, matrx_path="x")


def test_depth_settings_without_a_bank_are_said_to_be_idle(bank_path: Path) -> None:
    uda = build("daformer", bank_path, reweight_threshold=0.5)
    assert "no effect" in uda.describe()[-1]


def test_log_says_which_behavior_runs(bank_path: Path) -> None:
    lines = build(BANK_CASE, bank_path).describe()
    assert "as described" in lines[0]
    lines = build(BANK_CASE, bank_path, reference_quirks=True).describe()
    assert "as RELEASED" in lines[0]
