"""A full memory ends a run with one sentence: what did not fit, and what needs less."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from line_method import Line, batches, make_trainer
from tiny_run import config

from mmseg.apis.run_folder import is_sentence
from mmseg.cli.endings import user_errors
from mmseg.config import Config, parse_options
from mmseg.config.run_config import read_run
from mmseg.config.sections import PrecisionConfig
from mmseg.engine.precision import SHORT_NAMES
from mmseg.engine.trainer import Trainer
from mmseg.system.full_memory import FullMemoryError

CUDA = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 10.57 GiB of "
    "which 1.50 GiB is free. Process 7 has 9.07 GiB memory in use. Of the allocated memory …"
)
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)\nframe #0: …"
)
OTHERS = (
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    MemoryError(),
)


def trainer(folder: Path, error: Exception, **settings: Any) -> Trainer:
    """A run whose first step raises."""
    method = Line()

    def fail(iteration: int) -> None:
        raise error

    method.on_iteration = fail
    return make_trainer(folder, method, **settings)


def message(run: Trainer) -> str:
    with pytest.raises(FullMemoryError) as caught:
        run.run(batches(0, 1))
    assert is_sentence(caught.value)
    return str(caught.value)


def test_a_step_that_does_not_fit_ends_with_what_was_asked_and_what_needs_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU too old for bfloat16."""
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Turing")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    run = trainer(tmp_path, CUDA, samples_per_gpu=2, max_iters=40_000)
    monkeypatch.setattr("mmseg.engine.trainer.to_device", lambda batch, device: batch)
    run.device = torch.device("cuda", 1)
    assert message(run) == (
        "expected a training step of 2 sample(s) of 2x2 pixels in float32 on cuda:1 (Turing) to "
        "fit into the memory, got: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a "
        "total capacity of 10.57 GiB of which 1.50 GiB is free; add --amp fp16 (half precision; "
        "with --resume auto the run goes on), or --cfg-options "
        "data.samples_per_gpu=1 optimizer_config.cumulative_iters=2 runner.max_iters=80000 (a new "
        "run, with the same images per step; multiply warm-up and intervals by 2, too)."
    )


def test_what_is_in_force_already_is_not_advised_and_what_is_advised_can_be_set(
    tmp_path: Path,
) -> None:
    """Follow the last advice until there is none: 4 samples, 2, 1, then half, then recompute."""
    cfg, seen = Config(config(tmp_path, runner={"max_iters": 10})), []
    cfg.merge_options({"data.samples_per_gpu": 4})
    while len(seen) < 9:
        run = read_run(cfg)
        samples, size = run.data.samples_per_gpu, run.updates.cumulative_iters
        seen.append((samples, size, run.runner.max_iters))
        full = trainer(
            tmp_path, CPU, samples_per_gpu=samples, max_iters=run.runner.max_iters,
            cumulative_iters=size, precision=run.precision,
        )  # fmt: skip
        full.settings = replace(full.settings, model=run.model)
        options = re.findall(r"--(?:cfg-options(?: [\w.]+=\w+)+|amp \w+)", message(full))
        if not options:
            break
        kind, *words = options[-1].split()
        is_half = kind == "--amp"
        cfg.merge_options({"amp.dtype": SHORT_NAMES[words[0]]} if is_half else parse_options(words))
    assert seen == [(4, 1, 10), (2, 2, 20), (1, 4, 40), (1, 4, 40), (1, 4, 40)]
    assert run.precision == PrecisionConfig("bfloat16")
    assert run.model["backbone"]["with_cp"] is True


@pytest.mark.parametrize("error", OTHERS)
def test_other_words_for_a_full_memory_are_understood(tmp_path: Path, error: Exception) -> None:
    name = str(error).rstrip(".") or "MemoryError"
    half = PrecisionConfig("bfloat16")
    assert f"got: {name}; train on a device with more memory, or with a smaller crop" in message(
        trainer(tmp_path, error, precision=half)
    )


def test_other_errors_of_a_step_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="^a mistake$"):
        trainer(tmp_path, RuntimeError("a mistake")).run(batches(0, 1))


@pytest.mark.parametrize(
    ("test_cfg", "advice"),
    [
        (
            {"mode": "slide", "batched_slide": True},
            "add --cfg-options model.test_cfg.window_batch_size=1",
        ),
        ({"mode": "whole"}, "add --cfg-options model.test_cfg.mode=slide 'model.test_cfg.crop_"),
        ({"mode": "slide", "window_batch_size": 1}, "train with --no-validate and test on"),
    ],
)
def test_an_evaluation_that_does_not_fit_names_what_it_sends_at_once(
    tmp_path: Path, test_cfg: dict[str, Any], advice: str
) -> None:
    run = make_trainer(tmp_path, Line(), evaluation_interval=1)

    def fail(images: Any, metas: Any) -> None:
        raise CPU

    run.method.model.forward_test, run.method.model.test_cfg = fail, test_cfg
    said = message(run)
    assert said.startswith("expected the evaluation of an image of 7x5 pixels on cpu to fit into")
    assert advice in said
    assert said.endswith("(with --resume auto a training run goes on).")


def test_the_command_says_it_without_a_traceback() -> None:
    with pytest.raises(SystemExit, match="^FullMemoryError: it is full$"), user_errors():
        raise FullMemoryError("it is full")
