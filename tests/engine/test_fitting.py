"""`--fit` chooses what makes a training fit into a GPU, by measured memory."""

from types import SimpleNamespace
from typing import Any

import pytest

from mmseg.config import Config, load_config
from mmseg.engine import fitting
from mmseg.engine.fitting import ORDER, fit, measured_config, memory_signature, read_gigabytes
from mmseg.system.errors import ConfigError

NAME = "demo/cdda_daformer"
# With the 1,536 MiB beside them, they need 2.7, 2.5, 2.4 and 2.2 GB.
MIB = {"fp32": 1000, "fp32+with_cp": 800, "bf16": 700, "bf16+with_cp": 500}
HALF = {"fp16": None, "amp": {"dtype": "bfloat16"}}
RECOMPUTED = {"model.backbone.with_cp": True}


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with numbers of this test alone."""
    rows = {key: {"peak_mib": mib // 2, "reserved_mib": mib} for key, mib in MIB.items()}
    monkeypatch.setattr(fitting, "table", lambda: {"torch": "0", "configs": {NAME: rows}})


def changed(**changes: Any) -> Config:
    cfg = load_config(NAME)
    cfg.merge_options({key.replace("__", "."): value for key, value in changes.items()})
    return cfg


def use_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], memory: float) -> None:
    properties = SimpleNamespace(name="Some GPU", total_memory=memory * 1e9)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: properties)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("gigabytes", "changes"),
    [
        (80.0, {}),
        (2.7, {}),
        (2.69, RECOMPUTED),  # which changes no number
        (2.49, HALF),
        (2.39, {**HALF, **RECOMPUTED}),
    ],
)
def test_numbers_stay_as_long_as_memory_allows(gigabytes: float, changes: dict[str, Any]) -> None:
    assert fit(changed(), gigabytes).changes == changes


@pytest.mark.usefixtures("made_up")
def test_it_says_what_was_chosen_and_why() -> None:
    first, second = fit(changed(), 2.4).lines
    assert first == (
        "--fit 2.4GB, demo/cdda_daformer: chose bf16 (amp.dtype=bfloat16), which needs 2.4 GB; "
        "more than there is: fp32 2.7 GB, fp32+with_cp 2.5 GB"
    )
    assert "torch 0" in second and "1.6 GB for CUDA and cuDNN" in second


@pytest.mark.usefixtures("made_up")
def test_what_is_impossible_is_refused_with_what_would_be_needed() -> None:
    message = (
        r"^expected at least 2.2 GB for demo/cdda_daformer \(bf16\+with_cp, its own crop and "
        r"batch\), got --fit 2.1GB. Use a GPU with more memory, or change the experiment"
    )
    with pytest.raises(ConfigError, match=message):
        fit(changed(), 2.1)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("gigabytes", [2.2, 2.4, 2.5, 3.0])
def test_neither_crop_nor_batch_nor_method_changes(gigabytes: float) -> None:
    cfg = changed()
    before = memory_signature(cfg), {key: cfg[key] for key in ("data", "uda", "runner")}
    cfg.merge_options(fit(cfg, gigabytes).changes)
    assert (memory_signature(cfg), {key: cfg[key] for key in before[1]}) == before


@pytest.mark.usefixtures("made_up")
def test_what_is_switched_on_stays_on() -> None:
    """Also with memory for more."""
    assert fit(changed(amp__dtype="float16"), 80).changes == {}
    assert fit(changed(amp__dtype="float16"), 2.2).changes == RECOMPUTED
    assert fit(changed(model__backbone__with_cp=True), 80).changes == RECOMPUTED
    with pytest.raises(ConfigError, match=r"2.2 GB .* \(bf16\+with_cp"):
        fit(changed(amp__dtype="bfloat16", model__backbone__with_cp=True), 2)


@pytest.mark.usefixtures("made_up")
def test_a_gpu_without_bfloat16_gets_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    use_gpu(monkeypatch, (7, 5), 11)
    assert fit(changed(), 2.4).changes["amp"] == {"dtype": "float16"}


@pytest.mark.usefixtures("made_up")
def test_more_than_the_gpu_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use_gpu(monkeypatch, (8, 0), 10.4)
    assert fit(changed(), 11).changes == {}  # as it was sold
    with pytest.raises(ConfigError, match="memory of Some GPU, 10.4 GB, got 24GB. Use a smaller"):
        fit(changed(), 24)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    "changes",
    [
        {"uda__alpha": 0.5, "uda__pseudo_threshold": 0.9},
        {"runner__max_iters": 7, "seed": 3, "optimizer__lr": 0.1},
        {"data__train__source__data_root": "elsewhere", "model__pretrained": None},
        {"data__workers_per_gpu": 0, "work_dir": "other"},
    ],
)
def test_what_needs_no_memory_may_differ(changes: dict[str, Any]) -> None:
    assert measured_config(changed(**changes)) == NAME


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    "changes",
    [
        {"model__decode_head__channels": 48},
        {"model__backbone__type": "mit_b1"},
        {"data__samples_per_gpu": 1},
        {"optimizer": {"_delete_": True, "type": "SGD", "lr": 0.1}},
        {"uda__mask_mode": "separatetrgaug"},
        {"uda__imnet_feature_dist_lambda": 0.005},
        {"uda__matrix_path": None},
    ],
)
def test_what_was_not_measured_is_refused_with_the_command_that_measures(
    changes: dict[str, Any],
) -> None:
    message = r"which differs from all 1 of them .*: python benchmarks/stub_gpu/peaks.py CONFIG$"
    with pytest.raises(ConfigError, match=message):
        fit(changed(**changes), 80)


def test_every_measured_config_is_there_and_fits_into_what_it_needs() -> None:
    """The table of the package: names are configs, and half precision never needs more."""
    for name, rows in fitting.table()["configs"].items():
        assert "fp32" in rows and set(rows) <= set(ORDER), name
        cfg = load_config(name)
        assert memory_signature(load_config(measured_config(cfg))) == memory_signature(cfg)
        assert all(row["peak_mib"] <= row["reserved_mib"] for row in rows.values()), name
        assert rows["bf16"]["peak_mib"] < rows["fp32"]["peak_mib"], name
        assert fit(cfg, fitting._need(rows["fp32"])).changes == {}


def test_a_size_is_a_number_with_or_without_its_unit() -> None:
    assert [read_gigabytes(word) for word in ("8GB", "11gb", "7.5", 24)] == [8, 11, 7.5, 24]
    for word in ("", "GB", "-1", "nan", "inf", "eight", "0"):
        with pytest.raises(ConfigError, match="expected a number of GB, such as 11GB, got"):
            read_gigabytes(word)
