"""Half precision: what configs say, what it changes, and what it leaves alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import torch
from line_method import Line, batches, make_trainer

from mmseg.apis.train import build_initial_method, run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.run_config import read_run
from mmseg.config.sections import PrecisionConfig
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.precision import Precision
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.uda.base import StepOutput
from mmseg.system.errors import ConfigError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, PrecisionConfig()),
        ({"fp16": None, "amp": None}, PrecisionConfig()),
        ({"fp16": {"loss_scale": "dynamic"}}, PrecisionConfig("float16")),
        ({"fp16": {"loss_scale": 128}}, PrecisionConfig("float16", 128.0)),
        ({"fp16": {}}, PrecisionConfig("float16", 512.0)),
        (
            {"fp16": {"loss_scale": {"init_scale": 64.0, "mode": "dynamic"}}},
            PrecisionConfig("float16", scaler={"init_scale": 64.0}),
        ),
        (
            {"optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": 32.0}, "fp16": {}},
            PrecisionConfig("float16", 32.0),
        ),
        ({"optimizer_config": {"type": "OptimizerHook"}}, PrecisionConfig()),
        ({"amp": {"dtype": "bfloat16"}}, PrecisionConfig("bfloat16")),
        ({"amp": {"dtype": "float16"}}, PrecisionConfig("float16")),
        ({"amp": {"dtype": "float16", "loss_scale": 8.0}}, PrecisionConfig("float16", 8.0)),
    ],
)
def test_precision_is_read_as_the_family_writes_it(
    sections: dict[str, Any], expected: PrecisionConfig
) -> None:
    assert read_run(Config({"runner": {"max_iters": 2}, **sections})).precision == expected


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"fp16": True}, "fp16: expected a dictionary, got True"),
        ({"fp16": {"los_scale": 1.0}}, "'los_scale' in .*; did you mean 'loss_scale'"),
        ({"fp16": {"loss_scale": "dynamik"}}, "expected 'dynamic' or a number or a dictionary"),
        ({"fp16": {"loss_scale": 0}}, "expected 'dynamic' or a number above 0 or a dict"),
        ({"fp16": {"loss_scale": {"init": 1.0}}}, "'init' in .*loss_scale"),
        ({"amp": {"dtype": "bfloat"}}, "got 'bfloat'. Did you mean 'bfloat16'"),
        ({"amp": {"dtype": "bfloat16", "loss_scale": 2.0}}, "which needs no scale"),
        ({"amp": {"dtype": "bfloat16"}, "fp16": {}}, "expected fp16 or amp, got both"),
    ],
)
def test_a_precision_that_is_not_meant_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_run(Config({"runner": {"max_iters": 2}, **sections}))


class Matrix(Line):
    """Its loss goes through a matrix product, so that precision shows in the result's type."""

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__(weight)
        self.types: list[tuple[torch.dtype, float]] = []
        self.overflows_at = -1

    def accumulate_gradients(self, batch: Any, iteration: int, draws: Any) -> StepOutput:
        product = self.model.weight[None] @ torch.ones(1, 3)
        output = StepOutput(scale_loss=self.scale_loss)
        output.backward({"decode.loss_seg": product.float().sum()})
        self.types.append((product.dtype, self.model.weight.grad.item()))
        if iteration == self.overflows_at:
            self.model.weight.grad.fill_(float("inf"))
        return output


@pytest.mark.parametrize(
    ("settings", "dtype", "gradient"),
    [
        (PrecisionConfig(), torch.float32, 3.0),
        (PrecisionConfig("bfloat16"), torch.bfloat16, 3.0),
        (PrecisionConfig("float16", fixed_scale=64.0), torch.float16, 192.0),
    ],
)
def test_forward_runs_in_the_type_and_only_back_propagation_is_scaled(
    tmp_path: Path, settings: PrecisionConfig, dtype: torch.dtype, gradient: float
) -> None:
    """The loss is 3·weight: gradient 3, times the scale before the step, and 3 after it."""
    method = Matrix(weight=0.5)
    trainer = make_trainer(tmp_path, method, precision=settings)
    trainer.step(batches(0, 1)[0])
    assert method.types == [(dtype, gradient)]
    assert method.model.weight.grad.item() == 3.0
    assert method.model.weight.dtype is torch.float32
    assert trainer.state.losses.means() == {"decode.loss_seg": 1.5}


def test_a_step_with_overflowing_gradients_is_skipped_and_the_scale_halved(tmp_path: Path) -> None:
    method = Matrix(weight=0.5)
    method.overflows_at = 1
    settings = PrecisionConfig("float16", scaler={"init_scale": 64.0})
    trainer = make_trainer(tmp_path, method, precision=settings, max_iters=3, log_interval=1)
    after = []
    for batch in batches(0, 3):
        trainer.step(batch)
        after.append((method.model.weight.item(), trainer.precision.scale()))
    (first, _), (second, halved), (third, _) = after
    assert first == second != third
    assert (after[0][1], halved) == (64.0, 32.0)


def test_a_fixed_scale_stays_after_an_overflow(tmp_path: Path) -> None:
    method = Matrix()
    method.overflows_at = 0
    settings = PrecisionConfig("float16", fixed_scale=64.0)
    trainer = make_trainer(tmp_path, method, precision=settings)
    trainer.step(batches(0, 1)[0])
    assert method.model.weight.item() == 0
    assert trainer.precision.scale() == 64.0


def test_clipping_sees_gradients_without_the_scale(tmp_path: Path) -> None:
    method = Matrix()
    settings = PrecisionConfig("float16", fixed_scale=64.0)
    trainer = make_trainer(tmp_path, method, precision=settings, grad_clip={"max_norm": 4.0})
    trainer.step(batches(0, 1)[0])
    assert method.model.weight.grad.item() == 3.0


def test_the_scale_goes_on_where_the_interrupted_run_was(tmp_path: Path) -> None:
    """Halved at the first iteration, doubled after two good ones: 64, 32, 32, 64, 64, 128."""
    scaler = {"init_scale": 64.0, "growth_interval": 2}
    settings = {"precision": PrecisionConfig("float16", scaler=scaler), "log_interval": 1}
    first = Matrix()
    first.overflows_at = 0
    make_trainer(tmp_path, first, checkpoint_interval=2, **settings).run(batches(0, 2))
    assert read_checkpoint(tmp_path / "latest.pth")["scaler"]["scale"] == 32.0
    second = make_trainer(tmp_path, Matrix(), **settings)
    second.resume(tmp_path / "latest.pth")
    scales = []
    for batch in batches(2, 6):
        second.step(batch)
        scales.append(second.precision.scale())
    assert scales == [64.0, 64.0, 128.0, 128.0]


def test_evaluations_of_a_run_have_its_precision(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Matrix(), precision=PrecisionConfig("bfloat16"))
    seen = []

    def evaluate(network: Any, **_: Any) -> None:
        seen.append((network.weight[None] @ torch.ones(1, 3)).dtype)

    trainer.output = replace(trainer.output, evaluator=evaluate)  # pyright: ignore[reportArgumentType]
    trainer.evaluate()
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_scores_of_a_picture_are_summed_and_resized_in_full_precision(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that overlap, and sizes of pictures, need more digits than half precision has."""
    network: Any = EncoderDecoder.__new__(EncoderDecoder)
    torch.nn.Module.__init__(network)
    network.test_cfg = {"mode": mode, "crop_size": (5, 7), "stride": (4, 3)}
    network.align_corners = False
    half = torch.tensor([1.0, 1.0 + 2**-7]).to(torch.bfloat16)
    logits = half.view(1, 2, 1, 1)
    monkeypatch.setattr(
        network, "encode_decode", lambda img, _: logits.expand(1, 2, *img.shape[2:])
    )
    scores = network.inference(torch.zeros(1, 3, 9, 11), [{"ori_shape": (13, 17, 3)}])
    assert scores.dtype is torch.float32
    expected = half.float().softmax(0).view(1, 2, 1, 1).expand(1, 2, 13, 17)
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=0)


def test_a_gpu_that_lacks_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs since capability 8.0 have it; any has float16."""
    gpu, capability = torch.device("cuda", 1), (8, 0)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Turing")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert Precision(PrecisionConfig("bfloat16"), gpu).dtype is torch.bfloat16
    capability = (7, 5)
    assert Precision(PrecisionConfig("bfloat16"), CPU).dtype is torch.bfloat16
    assert Precision(PrecisionConfig(), gpu).dtype is None
    message = (
        r"^expected a GPU of compute capability 8.0 or newer for amp.dtype='bfloat16', got cuda:1 "
        r"\(Turing\) of 7.5; set amp.dtype='float16', or amp=None for full precision.$"
    )
    with pytest.raises(ConfigError, match=message):
        Precision(PrecisionConfig("bfloat16"), gpu)


def test_full_precision_has_no_state() -> None:
    precision = Precision(PrecisionConfig(), CPU)
    assert precision.state_dict() == {}
    assert precision.scale() is None
    loss = torch.ones(())
    assert precision.scaler.scale(loss) is loss


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    return root


def test_the_depth_metric_computes_in_full_precision(material: Path) -> None:
    """Counts above 256 have no bfloat16 of their own: the decisions must not depend on it."""
    cfg = Config(small_runs.config(material, "cdda", work_dir="unused"))
    metric = build_initial_method(read_run(cfg)).cdda.metric
    rng = np.random.default_rng(2)
    label = torch.from_numpy(rng.integers(0, 19, (2, 24, 40)))
    depth = torch.from_numpy(rng.integers(0, 256, (2, 24, 40))).float()
    weight, confident = torch.full((2, 24, 40), 0.5), torch.ones(2, 24, 40, dtype=torch.bool)
    expected = metric(label, weight, confident, depth, 0)
    with torch.autocast("cpu", torch.bfloat16):
        found = metric(label, weight, confident, depth, 0)
    for name in ("weight", "similarity", "class_similarity", "source_index", "guidance_table"):
        assert getattr(found, name).dtype == getattr(expected, name).dtype, name
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_whole_cdda_runs_in_half_precision_stay_near_full_precision(
    material: Path, tmp_path: Path
) -> None:
    """Source loss of the first two iterations to 0.2 %; all parameters move, and stay float32.

    The loss differed by 0.016 % at most, on processors with and without bfloat16 of their own.
    """
    full, full_log = two_iterations(material, tmp_path, None)
    for dtype in ("bfloat16", "float16"):
        half, half_log = two_iterations(material, tmp_path, dtype)
        for iteration in (1, 2):
            ours, theirs = (log["train", iteration] for log in (half_log, full_log))
            assert ours["decode.loss_seg"] == pytest.approx(theirs["decode.loss_seg"], rel=2e-3)
            assert ours["decode.loss_seg"] != theirs["decode.loss_seg"]
            assert ("loss_scale" in ours) == (dtype == "float16")
        assert ("scaler" in half) == (dtype == "float16")
        for key, value in half["state_dict"].items():
            assert value.dtype == full["state_dict"][key].dtype, key
        steps = [entry["step"].item() for entry in half["optimizer"]["state"].values()]
        assert len(steps) == len(full["optimizer"]["state"])
        assert set(steps) == {2.0}


def two_iterations(material: Path, folder: Path, dtype: str | None) -> tuple[Any, Any]:
    """Return the checkpoint and the log of two CDDA iterations."""
    values = small_runs.config(
        material,
        amp={"dtype": dtype} if dtype else None,
        runner={"max_iters": 2},
        log_config={"interval": 1},
    )
    work_dir = folder / str(dtype)
    run_training(Config(values), TrainOptions(str(work_dir), validate=False))
    return read_checkpoint(work_dir / "latest.pth"), small_runs.logged(work_dir)
