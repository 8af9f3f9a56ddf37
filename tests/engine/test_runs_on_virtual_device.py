"""Whole runs on a virtual GPU: the loop, evaluation, checkpoints, resuming, half precision.

Beside the one read of a CDDA step, the host waits for the device where a line of the log, a
checkpoint, an evaluation or a picture is due, and copies to it and waits where a run begins.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import torch
from virtual_device import READ, UPLOAD, VirtualDevice
from virtual_modes import tensors

from mmseg.apis import inference_segmentor, init_segmentor
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.engine.evaluator import predict, predict_attention

ITERATIONS, INTERVAL, IMAGES = 3, 2, 3
DUE = 2  # lines of the log, evaluations and checkpoints: after iterations 2 and 3
READS = {
    "engine.meters._read": DUE,
    "engine.finite._not_finite": DUE,
    "models.segmentors.encoder_decoder.simple_test": DUE * IMAGES,
}
DEPTH = {"system.device_copies.wait": ITERATIONS}
SCALE = {"engine.precision.scale": DUE, "engine.precision.state_dict": DUE * 2}
# Where as many tensors are read as there are.
PICTURES = ("datasets.pipelines.photometric.denormalize", "visualization.")
WHOLESALE = ("engine.checkpoint._on_cpu", *PICTURES)
BEGINNING = {"apis.train._build_trainer"}
BANK = {"models.uda.depthmetric.bank._apply"}
RESUMED = {"engine.checkpoint.load_state", "engine.run_state.restore_optimizer"}


@dataclass(frozen=True)
class Run:
    """A method of `small_runs`, changes of its config, and what it may read besides."""

    method: str
    changes: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)


RUNS = {
    "daformer": Run("daformer", {"optimizer_config": {"grad_clip": {"max_norm": 1.0}}}),
    "cdda in bfloat16": Run("cdda", {"amp": {"dtype": "bfloat16"}}, DEPTH),
    "mic in float16": Run("mic_teacher", {"amp": {"dtype": "float16"}}, DEPTH | SCALE),
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    return root


def reads(device: VirtualDevice) -> dict[str, int]:
    """Return how often functions have read, without those that read all there is."""
    found = device.functions(READ).items()
    return {function: n for function, n in found if not function.startswith(WHOLESALE)}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_waits_where_something_is_due_and_resumes_bit_by_bit(
    material: Path, tmp_path: Path, name: str
) -> None:
    run = RUNS[name]
    due = {"checkpoint_config": {"interval": INTERVAL}, "evaluation": {"interval": INTERVAL}}
    sections = {**due, "log_config": {"interval": INTERVAL}, "runner": {"max_iters": ITERATIONS}}
    cfg = Config(small_runs.config(material, run.method, **sections, **run.changes))
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    with VirtualDevice() as device:
        run_training(cfg, TrainOptions(str(whole)))
        assert reads(device) == {**READS, **run.reads}, device.waits()
        begun = BEGINNING | (BANK if run.reads else set())
        assert device.functions(UPLOAD).keys() == begun
        device.clear()
        run_training(cfg, TrainOptions(str(resumed), resume=str(whole / "iter_2.pth")))
        assert device.functions(UPLOAD).keys() == begun | RESUMED
        network = init_segmentor(cfg, whole / "latest.pth")
        assert next(network.parameters()).is_cuda
        (labels,) = inference_segmentor(network, np.zeros((24, 40, 3), np.uint8))
        assert labels.shape == (24, 40)
    assert small_runs.differences(whole / "latest.pth", resumed / "latest.pth") == []
    saved = tensors(torch.load(whole / "latest.pth", weights_only=True))  # without the GPU
    assert {value.device.type for value in saved} == {"cpu"}


@pytest.mark.parametrize(
    ("method", "mode", "views"),
    [
        ("daformer", "whole", 1),
        ("daformer", "slide", 2),
        ("hrda", "whole", 2),
        ("hrda", "slide", 1),
    ],
)
def test_a_label_map_is_that_of_the_cpu_and_read_once(
    material: Path, method: str, mode: str, views: int
) -> None:
    cfg = Config(small_runs.config(material, method))
    cfg.model.test_cfg = {"mode": mode, "crop_size": (64, 64), "stride": (32, 32)}
    generator = np.random.default_rng(4)
    images = [torch.from_numpy(generator.normal(size=(1, 3, 64, 96))) for _ in range(views)]
    metas = [[{"ori_shape": (72, 96, 3), "flip": i > 0}] for i in range(views)]
    torch.manual_seed(4)
    network = init_segmentor(cfg, device="cpu").double()
    expected = predict(network, {"img": images, "img_metas": metas})
    with VirtualDevice() as device:
        network = network.to("cuda")
        device.clear()
        found = predict(network, {"img": images, "img_metas": metas})
        name = "simple_test" if views == 1 else "aug_test"
        assert reads(device) == {f"models.segmentors.encoder_decoder.{name}": 1}
        assert device.functions(UPLOAD) == {}
        if method == "hrda":
            device.clear()
            assert predict_attention(network, {"img": images, "img_metas": metas}).ndim == 2
            assert reads(device) == {"engine.evaluator.predict_attention": 1}
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) > 1
