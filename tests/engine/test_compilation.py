"""Compiled networks: few graphs, the numbers and the checkpoints of uncompiled ones."""

import logging
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from torch import Tensor, nn

from mmseg.apis.train import build_initial_method, run_training, training_data
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.run_config import read_run
from mmseg.config.sections import CompileConfig
from mmseg.datasets import build_dataset
from mmseg.datasets.loader import build_train_loader
from mmseg.engine import build_optimizer, compilation
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.compilation import compile_for_prediction, compile_method, require_compiler
from mmseg.system.errors import ConfigError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)
DEFAULT, MAX = CompileConfig(), CompileConfig("max")
COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler, g++")


class Graphs:
    """A compiler that runs what it is given as it is, and counts it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.count += 1
        return graph.forward


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    return root


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Start and end without compiled code."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def config(material: Path, name: str, **changes: Any) -> Config:
    """Return the config of a small run; all have the smallest backbone."""
    values = small_runs.config(material, name, work_dir="unused", **changes)
    backbone = small_runs.SMALL_BACKBONE
    values["model"] |= {"backbone": backbone, "pretrained": str(material / "small.pth")}
    values["model"]["decode_head"]["in_channels"] = backbone["embed_dims"]
    return Config(values)


class Run:
    """A training method with its batches."""

    def __init__(self, material: Path, name: str, iterations: int) -> None:
        run = read_run(config(material, name))
        torch.manual_seed(0)
        self.method = build_initial_method(run)
        self.optimizer = build_optimizer(self.method, run.optimizer, 2)
        dataset = build_dataset(training_data(run))
        self.batches = list(build_train_loader(dataset, 2, 0, 5, 0, iterations, 0, 1))
        self.method.train()

    def step(self, iteration: int) -> dict[str, float]:
        return self.method.train_step(self.batches[iteration], self.optimizer, iteration)


# Student: backbone and head, HRDA also its attention; teachers: one for all; ImageNet: one for both
# scales of HRDA, whose context and detail are of one size.
@pytest.mark.parametrize(("name", "expected"), [("daformer", 4), ("mic_teacher", 5)])
def test_every_network_is_one_graph_and_none_is_compiled_again(
    material: Path, name: str, expected: int
) -> None:
    """Boxes, masks and guidance change from step to step, and an evaluation comes between."""
    run, graphs = Run(material, name, 4), Graphs()
    compile_method(run.method, DEFAULT, graphs)
    run.step(0)
    assert graphs.count == expected
    run.step(1)
    assert graphs.count == expected
    evaluated = []
    for width in (96, 128, 160):  # windows of one size, cut from images of three
        image, meta = torch.rand(1, 3, 72, width), {"ori_shape": (72, width, 3)}
        run.method.model.test_cfg = {"mode": "slide", "crop_size": (64, 64), "stride": (32, 32)}
        run.method.model.eval().inference(image, [meta])
        evaluated.append(graphs.count)
    assert evaluated == [evaluated[0]] * 3
    assert evaluated[0] <= 2 * expected
    run.method.train()
    run.step(2)
    run.step(3)
    assert graphs.count == evaluated[0]


def test_compiled_steps_draw_the_same_and_give_the_same_numbers(material: Path) -> None:
    """In float32 to 1e-4: dropout, stochastic depth, masks, jitter, four networks."""
    plain, compiled = Run(material, "mic_teacher", 3), Run(material, "mic_teacher", 3)
    compile_method(compiled.method, DEFAULT, "aot_eager")
    for iteration in range(3):
        expected, found = plain.step(iteration), compiled.step(iteration)
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), iteration
    ours, theirs = compiled.method.state_dict(), plain.method.state_dict()
    assert list(ours) == list(theirs)


@COMPILER
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["default", "max"])
def test_the_real_compiler_gives_the_same_numbers(material: Path, mode: Any) -> None:
    """In float32: losses to 1e-4, gradients to 1 % of the norm of each."""
    plain, compiled = Run(material, "mic_teacher", 2), Run(material, "mic_teacher", 2)
    compile_method(compiled.method, CompileConfig(mode))
    for iteration in range(2):
        expected, found = plain.step(iteration), compiled.step(iteration)
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), iteration
        gradients = {n: p.grad for n, p in plain.method.model.named_parameters()}
        for key, parameter in compiled.method.model.named_parameters():
            difference, size = (parameter.grad - gradients[key]).norm(), gradients[key].norm()
            assert difference <= 1e-2 * size + 1e-5, (iteration, key)


def test_checkpoints_go_on_with_and_without_the_compiler(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 + 2 iterations, the second half with the other setting: as 4 of either, to 1e-4."""
    compiled = partial(compile_method, backend="aot_eager")
    monkeypatch.setattr("mmseg.apis.train.compile_method", compiled)
    monkeypatch.setattr("mmseg.apis.train.require_compiler", lambda device: None)

    def train(folder: str, iterations: int, section: Any) -> Any:
        cfg = config(material, "daformer", log_config={"interval": 1}, compile=section)
        cfg.merge_options({"runner.max_iters": iterations, "checkpoint_config.interval": 2})
        cfg["lr_config"] = {"policy": "fixed"}  # the same for runs of any length
        options = TrainOptions(str(tmp_path / folder), validate=False, resume="auto")
        run_training(cfg, options)
        return read_checkpoint(tmp_path / folder / "latest.pth")

    whole = train("whole", 4, None)
    for name, first, then in (("a", {"mode": "default"}, None), ("b", None, {"mode": "default"})):
        train(name, 2, first)
        found = train(name, 4, then)
        assert list(found["state_dict"]) == list(whole["state_dict"])
        logs = [small_runs.logged(tmp_path / folder) for folder in (name, "whole")]
        for key, record in logs[1].items():
            numbers = {k: v for k, v in record.items() if isinstance(v, float)}
            found_numbers = {k: logs[0][key][k] for k in numbers}
            assert found_numbers == pytest.approx(numbers, rel=1e-4, abs=1e-6), (name, key)


def test_the_log_says_that_the_first_iteration_compiles_and_how_long_it_took(
    material: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(material, "source_only", 2)
    compile_method(run.method, DEFAULT, "eager")
    with caplog.at_level(logging.INFO, "mmseg"):
        compilation.get_logger().propagate = True
        run.step(0)
        run.step(1)
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "Compiling the networks: the first iteration takes minutes"
    assert said[1].startswith("Compiled: the first iteration took ")
    assert len(said) == 2


def test_only_networks_that_never_learn_are_replayed(
    material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[bool]] = {}

    def record(function: Any, *, options: dict[str, Any], **rest: Any) -> Any:
        assert options["fallback_random"]  # else, draws would differ from an uncompiled run's
        assert (rest["backend"], rest["dynamic"]) == ("inductor", False)
        module = function.__self__
        seen.setdefault(names[module], set()).add(bool(options.get("triton.cudagraphs")))
        return function

    method = Run(material, "mic_teacher", 1).method
    names = {module: name for name, module in method.named_modules()}
    monkeypatch.setattr(torch, "compile", record)
    compile_method(method, MAX)
    frozen = ("ema_model", "mic.teacher.ema_model", "imnet_model")
    assert {name for name, replayed in seen.items() if replayed == {True}} == set(frozen)
    assert {name for name, replayed in seen.items() if replayed == {False}} == {
        "model.backbone", "model.decode_head.head", "model.decode_head.scale_attention",
    }  # fmt: skip


def test_what_a_replay_returned_outlives_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay writes where the last one has written."""
    buffer, begun = torch.zeros(2, 3), []

    def replay(function: Any, **_: Any) -> Any:
        def run(image: Tensor) -> list[Tensor]:
            buffer.copy_(image[:, 0, 0, :3])
            return [buffer]

        return run

    monkeypatch.setattr(torch, "compile", replay)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1))
    network: Any = nn.Module()
    network.backbone = network.decode_head = nn.Identity()
    compile_for_prediction(network, MAX)
    first, second = torch.rand(2, 1, 5, 7), torch.rand(2, 1, 5, 7)
    (kept,), (other,) = network.backbone(first), network.backbone(second)
    assert torch.equal(kept, first[:, 0, 0, :3])
    assert torch.equal(other, second[:, 0, 0, :3])
    assert len(begun) == 2


def test_a_missing_compiler_ends_the_run_before_it_begins(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("No working C++ compiler found\nand a long trace")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    cfg = config(material, "source_only", compile={"mode": "max"})
    message = (
        r"^expected that torch.compile works on cpu for --compile, which needs a C\+\+ compiler "
        r"\(the package g\+\+\), got: No working C\+\+ compiler found. Install what is missing, or "
        r"leave --compile out.$"
    )
    with pytest.raises(ConfigError, match=message):
        run_training(cfg, TrainOptions(str(tmp_path / "run")))
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_gpu_without_kernels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Pascal")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (6, 1))
    with pytest.raises(ConfigError, match="7.0 or newer for --compile, got Pascal of 6.1; leave"):
        require_compiler(GPU)


@COMPILER
@pytest.mark.slow
def test_a_compiler_that_is_there_is_found() -> None:
    require_compiler(CPU)
