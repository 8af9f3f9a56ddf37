"""Every method on a virtual GPU: the numbers of the CPU, no mixing of devices, no hidden wait.

A step may wait for the device in `READS_OF_A_STEP` alone. Both runs compute with the kernels of one
CPU in float64. The branches for a GPU differ from those for a CPU in memory layouts and in the
order of a few sums, so that losses agree to some roundings: 5e-15 was the largest deviation of any
term. A wrong branch differs in the first digits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import curves
import pytest
import small_runs
import torch
from torch import Tensor
from virtual_device import QUEUED, READ, UPLOAD, VirtualDevice

from mmseg.datasets.loader import to_device
from mmseg.engine.trainer import Trainer
from mmseg.models.uda.dacs import DACS
from mmseg.models.uda.teacher import Teacher

ROUNDING = 1e-12
READS_OF_A_STEP = {"system.device_copies.wait": 1}
QUEUES_OF_A_STEP = {
    "datasets.loader.to_device",  # the batch
    "system.device_copies.send",  # what is drawn, things, which parameters have a gradient
    "system.device_copies.__init__",  # the decisions of the metric, to the host
    "models.uda.depthmetric.replacement._send",  # matched crops
}
SIDE, DETAIL = 64, 32  # square, as the released behavior needs it
ITERATIONS = (1, 2)  # not 0, which has pictures
PARTS = {
    "imnet_feature_dist_lambda": 0.005,
    "imnet_feature_dist_classes": list(range(19)),
    "imnet_feature_dist_scale_min_ratio": 0.1,
    "pseudo_threshold": 0.053,  # hardly more than a guess, which new networks make
}
NO_DEPTH = {"matrix_path": None}
AS_RELEASED = {"reference_quirks": True}
MASKED = {
    "mask_mode": "separatetrgaug",
    "mask_lambda": 1,
    "mask_generator": {"type": "block", "mask_ratio": 0.7, "mask_block_size": 16},
}
SECOND_TEACHER = {"mask_alpha": 0.4, "mask_pseudo_threshold": 0.054}


@dataclass(frozen=True)
class Case:
    """A demo config, changes of its `uda`, and the terms that show what runs."""

    config: str
    uda: dict[str, Any] = field(default_factory=dict)
    terms: tuple[str, ...] = ()

    @property
    def has_depth(self) -> bool:
        return "tgt.loss" in self.terms


MIX = ("mix.decode.loss_seg", "src.loss_imnet_feat_dist")
CDDA = (*MIX, "tgt.loss", "cdda.replaced")
VFM = ("mix.decode.loss_seg", "masked.decode.loss_seg", "tgt.loss_vfm_feat_dist")
NO_PARTS = {"imnet_feature_dist_lambda": 0}
HRDA, MIC = ("decode.hr.loss_seg",), ("masked.decode.loss_seg",)
METHODS = {
    "source_only": Case("source_only", terms=("decode.loss_seg", "src.loss_imnet_feat_dist")),
    "source_pretraining": Case("source_pretraining", terms=("decode.loss_seg",)),
    "minent": Case("minent", terms=("decode.loss_seg", "ent.loss.main")),
    "minent with MIC": Case("minent", MASKED, ("ent.loss.main", *MIC)),
    "advseg": Case("advseg", terms=("G_trg.loss.main", "D_src.loss.main", "D_trg.loss.main")),
    "dacs": Case("dacs", terms=MIX),
    "daformer": Case("daformer", terms=MIX),
    "mic on daformer": Case("mic", terms=MIX + MIC),
    "hrda": Case("cdda_hrda", NO_DEPTH, MIX + HRDA),
    "mic": Case("cdda_mic", {**NO_DEPTH, "mask_mode": "separateaug"}, MIX + HRDA + MIC),
    "cdda_daformer": Case("cdda_daformer", terms=CDDA),
    "cdda_hrda": Case("cdda_hrda", terms=CDDA + HRDA),
    "cdda_mic": Case("cdda_mic", SECOND_TEACHER, CDDA + HRDA + MIC),
    "vfm_source_only": Case("vfm_source_only", NO_PARTS, ("decode.loss_seg",)),
    "vfmudapp": Case("vfmudapp", NO_PARTS, VFM),
    "cdda_vfm": Case(
        "cdda_vfm", {**NO_PARTS, "reweight_threshold": 0.1}, (*VFM, "tgt.loss", "cdda.replaced")
    ),
    "cdda_vfm as released": Case("cdda_vfm", {**NO_PARTS, **AS_RELEASED}, (*VFM, "tgt.loss")),
    "cdda_daformer as released": Case("cdda_daformer", AS_RELEASED, CDDA),
    "cdda_mic as released": Case(
        "cdda_mic", {**AS_RELEASED, "mask_mode": "separatesrc"}, CDDA + HRDA + MIC
    ),
}


def test_every_demo_config_is_among_the_methods() -> None:
    assert {case.config for case in METHODS.values()} == set(curves.NAMES)


@pytest.fixture
def make_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case, str], Trainer]:
    """Return what builds the trainer of a case, of small networks, on a device."""
    config_of = curves.demo_config
    monkeypatch.setattr(curves, "SIZE", (SIDE, SIDE))
    monkeypatch.setattr(curves, "DETAIL", (DETAIL, DETAIL))
    monkeypatch.setattr(curves, "_draw_from_numpy", lambda *_: None)  # one kind of processor

    def build(case: Case, device: str) -> Trainer:
        def config(name: str, folder: Path) -> Any:
            cfg = config_of(name, folder)
            cfg.uda.update({**(PARTS if cfg.uda.type == "DACS" else {}), **case.uda})
            if "vit" in cfg.model.backbone:  # small already
                return cfg
            cfg.model.backbone = small_runs.SMALL_BACKBONE
            cfg.model.decode_head.update(
                in_channels=small_runs.SMALL_BACKBONE["embed_dims"],
                channels=16,
                decoder_params={**cfg.model.decode_head.decoder_params, "embed_dims": 16},
            )
            return cfg

        with monkeypatch.context() as patch:
            patch.setattr(curves, "demo_config", config)
            trainer = curves.demo_trainer(case.config, tmp_path, device)
        trainer.method.train()
        trainer.progress.iteration = ITERATIONS[0]
        return trainer

    return build


def losses(trainer: Trainer, name: str) -> list[dict[str, Tensor]]:
    """Train two iterations and return their losses."""
    kept: list[dict[str, Tensor]] = []
    accumulate = trainer.method.accumulate_gradients

    def keep(*arguments: Any) -> Any:
        output = accumulate(*arguments)
        kept.append(dict(output.losses))
        return output

    trainer.method.accumulate_gradients = keep
    for iteration in ITERATIONS:
        trainer.step(to_device(curves.demo_batch(name, iteration), trainer.device))
    return kept


def check_waits(device: VirtualDevice, has_depth: bool) -> None:
    """Raise unless steps waited where they may, and only there."""
    expected = {f: len(ITERATIONS) * n for f, n in READS_OF_A_STEP.items()} if has_depth else {}
    assert device.functions(READ) == expected, device.waits()
    assert device.functions(UPLOAD) == {}, device.waits()
    assert device.functions(QUEUED).keys() <= QUEUES_OF_A_STEP


@pytest.mark.parametrize("name", METHODS)
def test_a_step_on_a_gpu_has_the_losses_of_the_cpu_and_waits_once_at_most(
    make_trainer: Callable[[Case, str], Trainer], name: str
) -> None:
    case = METHODS[name]
    expected = losses(make_trainer(case, "cpu"), case.config)
    with VirtualDevice() as device:
        trainer = make_trainer(case, "cuda")
        device.clear()
        found = losses(trainer, case.config)
        assert all(map(device.holds, trainer.method.state_dict().values()))
        check_waits(device, case.has_depth)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for term, value in ours.items():
            torch.testing.assert_close(value, theirs[term], rtol=ROUNDING, atol=0, msg=term)
    for term in case.terms:
        assert any(float(step.get(term, 0)) for step in found), (term, found)


def test_one_of_two_processes_waits_no_more(
    make_trainer: Callable[[Case, str], Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is not there: what they reduce stays as it is."""
    answers = {"is_initialized": True, "get_world_size": 2, "get_rank": 0, "all_reduce": None}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.distributed, name, lambda *_, answer=answer: answer)
    with VirtualDevice() as device:
        trainer = make_trainer(METHODS["cdda_mic"], "cuda")
        device.clear()
        losses(trainer, METHODS["cdda_mic"].config)
        check_waits(device, has_depth=True)


def without_device(original: Any, *arguments: Any) -> Any:
    return original(*arguments) * torch.ones(SIDE, SIDE)


def reads_a_loss(original: Any, method: Any, passes: Any) -> Any:
    original(method, passes)
    assert all(float(loss) >= 0 for loss in passes.step.output.losses.values())


def looks_for_a_class(original: Any, teacher: Any, *arguments: Any) -> Any:
    pseudo = original(teacher, *arguments)
    return pseudo if (pseudo.label == 3).any() else pseudo


def selects_pixels(original: Any, *arguments: Any) -> Any:
    trust = original(*arguments)
    return trust + 0 * trust[trust > 0].sum()


def waits_for_a_copy(original: Any, *arguments: Any) -> Any:
    trust = original(*arguments)
    return trust * torch.tensor([1.0], device=trust.device)


IN_STEP = r"in models\.uda\.dacs\.accumulate_gradients \(.*dacs\.py:\d+\)"
FAULTS: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "a tensor without its device": (
        DACS, "_find_trusted_pixels", without_device,
        f"mul {IN_STEP}: expected all tensors on one device, got cuda:0 .*, cpu ",
    ),
    "float(loss)": (
        DACS, "_train_on_source", reads_a_loss, f"read: _local_scalar_dense {IN_STEP}",
    ),
    "if mask.any()": (
        Teacher, "label", looks_for_a_class, f"read: _local_scalar_dense {IN_STEP}",
    ),
    "x[mask]": (
        DACS, "_find_trusted_pixels", selects_pixels, f"read: index {IN_STEP}",
    ),
    "torch.tensor(…, device=…)": (
        DACS, "_find_trusted_pixels", waits_for_a_copy, f"upload: tensor {IN_STEP}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(
    make_trainer: Callable[[Case, str], Trainer], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    owner, name, planted, message = FAULTS[fault]
    case, original = METHODS["cdda_daformer"], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments: planted(original, *arguments))
    with VirtualDevice() as device:
        trainer = make_trainer(case, "cuda")
        device.clear()
        with pytest.raises((AssertionError, RuntimeError), match=message):
            losses(trainer, case.config)
            check_waits(device, case.has_depth)
