"""`--amp`, `--tf32`, `--compile` and `--fit` set keys of the config, wherever one trains."""

from pathlib import Path
from typing import Any

import pytest
import torch

import run_experiments
from mmseg.apis.run_names import child_of_file
from mmseg.apis.test import TestOptions
from mmseg.cli.options import parse
from mmseg.cli.training import ConfigRunOptions, ExperimentOptions, series_of
from mmseg.config import Config, load_config
from mmseg.config.run_config import read_run
from mmseg.config.sections import CompileConfig, PrecisionConfig
from mmseg.engine import fitting
from mmseg.engine.precision import use_tf32
from mmseg.system.errors import ConfigError

CONFIG = "configs/demo/cdda_daformer"
CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)
ROWS = {"fp32": 1000, "bf16": 700}
TABLE = {
    "torch": "0",
    "configs": {"demo/cdda_daformer": {k: {"reserved_mib": v} for k, v in ROWS.items()}},
}


def chosen(*words: str, kind: type[Any] = ConfigRunOptions) -> Any:
    return parse(
        kind, [*([CONFIG] if kind is ConfigRunOptions else ["--config", CONFIG]), *words], ""
    )


@pytest.mark.parametrize("kind", [ConfigRunOptions, ExperimentOptions])
@pytest.mark.parametrize(
    ("words", "precision", "compilation", "tf32"),
    [
        ((), PrecisionConfig(), None, None),
        (("--amp", "bf16"), PrecisionConfig("bfloat16"), None, None),
        (("--amp", "fp16", "--tf32"), PrecisionConfig("float16"), None, True),
        (("--compile",), PrecisionConfig(), CompileConfig(), None),
        (("--compile", "max"), PrecisionConfig(), CompileConfig("max"), None),
    ],
)
def test_switches_set_keys_and_are_off_by_default(
    kind: type[Any], words: tuple[str, ...], precision: Any, compilation: Any, tf32: Any
) -> None:
    cfg = load_config(CONFIG)
    cfg.merge_options(chosen(*words, kind=kind).changes())
    run = read_run(cfg)
    assert (run.precision, run.compilation, run.tf32) == (precision, compilation, tf32)


def test_the_family_s_half_precision_gives_way_to_the_option() -> None:
    cfg = Config({"runner": {"max_iters": 2}, "fp16": {"loss_scale": 8.0}})
    cfg.merge_options(chosen("--amp", "bf16").changes())
    assert read_run(cfg).precision == PrecisionConfig("bfloat16")


def test_runs_of_experiments_get_the_keys_in_their_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a finished run is found again by the same command, and a continued one keeps them."""
    words = ("--amp", "bf16", "--compile", "max", "--seeds", "0", "1")
    options = chosen(*words, kind=ExperimentOptions)
    for run in series_of(options).runs:
        assert read_run(run.config()).compilation == CompileConfig("max")
    monkeypatch.chdir(tmp_path)
    child = read_run(load_config(child_of_file(CONFIG, options.changes())))
    assert child.compilation == CompileConfig("max")
    assert child.precision == PrecisionConfig("bfloat16")


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected 'default' or 'max', got 'fast'"):
        read_run({"runner": {"max_iters": 2}, "compile": {"mode": "fast"}})


def test_what_fits_is_set_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "table", lambda: TABLE)
    for kind in (ConfigRunOptions, ExperimentOptions):
        options = chosen("--fit", "2.4GB", kind=kind).fitted_to(CONFIG)
        assert options.changes()["amp"] == {"dtype": "bfloat16"}
        assert options.notes[0].startswith("--fit 2.4GB, demo/cdda_daformer: chose bf16")
        assert chosen(kind=kind).fitted_to(CONFIG).notes == ()


def test_configs_of_an_experiment_are_fitted_one_by_one() -> None:
    with pytest.raises(SystemExit, match="expected --fit with --config, got --exp"):
        run_experiments.main(["--exp", "80", "--fit", "24GB"])


def test_results_name_what_a_test_switched_on() -> None:
    options = TestOptions("c", "k", amp="bf16", tf32=True, compile="max")
    assert options.recorded_choices() == {"amp": "bf16", "tf32": True}


def test_tf32_is_torch_s_default_until_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = (7, 5)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        assert use_tf32(None, GPU) == []
        assert [backend.allow_tf32 for backend in backends] == before
        for is_wanted in (True, False):
            use_tf32(is_wanted, CPU)
            assert [backend.allow_tf32 for backend in backends] == [is_wanted] * 2
        assert "has no effect on cpu: only GPUs of compute capability 8.0" in use_tf32(True, CPU)[0]
        assert "has no effect on cuda:1" in use_tf32(True, GPU)[0]
        capability = (8, 6)
        assert use_tf32(True, GPU)[0].endswith("round their inputs to 10 bits")
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value
