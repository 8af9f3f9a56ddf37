"""All configs of the family resolve to the recorded values, load, and build."""

import gzip
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmseg.apis.checks import check_run
from mmseg.config import Config, load_config
from mmseg.config.language import python_text
from mmseg.config.registry import HEADS
from mmseg.models import build_train_model

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
SHIPPED = json.loads((GOLDEN / "B" / "config_dump.json").read_text())
BASES = json.loads((GOLDEN / "K" / "base_configs.json").read_text())
EXPERIMENTS = json.loads(gzip.decompress((GOLDEN / "K" / "experiments.json.gz").read_bytes()))
ALL_FILES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.py")
    if "generated" not in path.parts
)


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Yield every expected value that is missing or different; tuples equal lists."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            if key in actual:
                yield from differences(value, actual[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: missing, expected {value!r}"
    elif isinstance(expected, list) and isinstance(actual, list | tuple):
        if len(expected) != len(actual):
            yield f"{path}: {len(actual)} entries, expected {len(expected)}"
        for index, (e, a) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(e, a, f"{path}[{index}]")
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: {actual!r}, expected {expected!r}"


def test_comparison_finds_missing_changed_and_shortened_values():
    expected = {"a": [1, 2], "b": {"c": None}, "d": False}
    actual = {"a": (1,), "b": {}, "d": 0, "extra": 3}
    assert len(list(differences(expected, actual))) == 3
    assert not list(differences(expected, {"a": (1, 2), "b": {"c": None}, "d": False, "e": 1}))


@pytest.mark.parametrize("name", {**BASES, **SHIPPED})
def test_config_resolves_to_the_recorded_values(name: str):
    expected = {**BASES, **SHIPPED}[name]
    assert not list(differences(expected, load_config(ROOT / name).to_dict()))


@pytest.mark.parametrize("name", ALL_FILES)
def test_every_config_file_loads_with_and_without_suffix(name: str):
    cfg = load_config(ROOT / name)
    assert len(cfg) > 0
    assert load_config((ROOT / name).with_suffix("")).to_dict() == cfg.to_dict()


def test_reading_a_config_imports_nothing_heavy():
    """So that a mistake in one is told at once; the pipelines are called from all data configs."""
    code = (
        "import sys; from mmseg.config import load_config; "
        "load_config('configs/cdda/synthiaHR2csHR_cdda_mic'); "
        "assert 'mmseg.config.standard_pipelines' in sys.modules; "
        "heavy = {'torch', 'numpy', 'cv2'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_validation_and_test_sets_share_no_object():
    """The test tool edits `data.test` in place; that must not reach `data.val`."""
    data = load_config(ROOT / "configs/demo/cdda_daformer").data
    data.test.pipeline[1]["flip"] = True
    data.test["img_dir"] = "leftImg8bit/test"
    assert data.val.pipeline[1]["flip"] is False
    assert data.val["img_dir"] == "leftImg8bit/val"


def test_demo_configs_differ_only_in_the_training_method():
    cfgs = [
        load_config(ROOT / f"configs/demo/{name}").to_dict()
        for name in ("source_only", "minent", "advseg", "daformer", "mic", "cdda_daformer")
    ]
    for cfg in cfgs:
        for key in ("uda", "name", "name_uda"):
            cfg.pop(key)
    assert all(cfg == cfgs[0] for cfg in cfgs)


def test_the_oracle_of_the_demo_differs_from_daformer_in_what_it_trains_on():
    plain, oracle = (
        load_config(ROOT / f"configs/demo/{name}").to_dict() for name in ("daformer", "oracle")
    )
    assert (
        type(build_train_model(load_config(ROOT / "configs/demo/oracle"))).__name__ == "Supervised"
    )
    target, train = (cfg["data"].pop("train") for cfg in (plain, oracle))
    assert not list(differences(train, target["target"]))
    for key in ("uda", "use_ddp_wrapper", "name", "name_uda", "name_dataset"):
        plain.pop(key)
        oracle.pop(key, None)
    assert plain == oracle


@pytest.mark.parametrize("name", [name for name in ALL_FILES if "/_base_/" not in name])
def test_every_runnable_config_is_valid_and_builds_its_training_method(name: str):
    """On the meta device, which has no numbers; without the files of a run, as after an error."""
    cfg = load_config(ROOT / name)
    check_run(load_config(ROOT / name))
    cfg.merge_options({"model.pretrained": None})
    if cfg.get("uda"):
        cfg.merge_options({"uda.matrix_path": None} if "cdda" in name else {})
    with torch.device("meta"):
        method = build_train_model(cfg)
    words = set(Path(name).stem.split("_"))
    kinds = {"advseg": "AdvSeg", "minent": "MinEnt", "oracle": "Supervised"}
    expected = next((kind for word, kind in kinds.items() if word in words), "DACS")
    assert type(method).__name__ == expected
    has_scales = bool({"hrda", "mic"} & words) and name != "configs/demo/mic.py"
    assert type(method.model).__name__ == ("HRDAEncoderDecoder" if has_scales else "EncoderDecoder")
    masks = bool({"mic", "vfm", "vfmuda", "vfmudapp"} & words) and "source" not in words
    assert (getattr(method, "mic", None) is not None) == masks
    assert (getattr(method, "teacher", None) is None) == ("source" in words or expected != "DACS")
    assert method.describe()


def test_demo_of_hrda_adds_only_scales_margins_and_name_and_mic_only_masks():
    """So that they can use the crops, the bank and the start of the other demo configs."""
    plain, hrda, mic = (
        load_config(ROOT / f"configs/demo/cdda_{name}").to_dict()
        for name in ("daformer", "hrda", "mic")
    )
    changed = [line.split(":")[0] for line in differences(plain, hrda)]
    assert changed == [
        ".model.type", ".model.decode_head.type", ".model.test_cfg.mode",
        ".uda.pseudo_weight_ignore_top", ".uda.pseudo_weight_ignore_bottom",
        ".name", ".name_architecture", ".name_decoder", ".name_uda",
    ]  # fmt: skip
    changed = [line.split(":")[0] for line in differences(hrda, mic)]
    masks = [".uda.mask_mode", ".uda.mask_lambda", ".uda.mask_generator"]
    assert sorted(changed) == sorted([*masks, ".name", ".name_uda"])


def test_custom_imports_registers_a_head_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "module_of_the_user.py").write_text(
        "from mmseg.config.registry import HEADS\n\n\n"
        "@HEADS.register()\nclass HeadOfTheUser:\n"
        "    def __init__(self, width):\n        self.width = width\n"
    )
    (tmp_path / "cfg.py").write_text(
        "custom_imports = dict(imports=['module_of_the_user'])\n"
        "model = dict(decode_head=dict(type='HeadOfTheUser', width=7))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    cfg = load_config(tmp_path / "cfg")
    assert HEADS.build(cfg.model.decode_head).width == 7
    sys.modules.pop("module_of_the_user")


def test_custom_import_that_does_not_exist_names_the_file_and_the_module(tmp_path):
    (tmp_path / "cfg.py").write_text("custom_imports = dict(imports=['no_such_module_of_mine'])\n")
    with pytest.raises(ImportError, match=r"cfg\.py.*no_such_module_of_mine"):
        load_config(tmp_path / "cfg.py")


@pytest.fixture(scope="module")
def experiments() -> Iterator[Any]:
    """The module of the repository, and the folder in which its configs have their bases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("experiments")


def resolved(own: dict[str, Any], folder: Path) -> Config:
    """Return a config of an experiment with what it inherits."""
    bases = [str(ROOT / "configs" / base) for base in own["_base_"]]
    file = folder / "experiment.py"
    file.write_text(python_text({**own, "_base_": bases}))
    return load_config(file)


@pytest.mark.parametrize("number", EXPERIMENTS)
def test_experiment_gives_the_recorded_configs_in_order(
    number: str, experiments: Any, tmp_path: Path
) -> None:
    """What the file itself says, and what it resolves to; of every run."""
    configs = experiments.generate_experiment_cfgs(int(number))
    assert [own["name"] for own in configs] == [run["name"] for run in EXPERIMENTS[number]]
    for own, recorded in zip(configs, EXPERIMENTS[number], strict=True):
        assert json.loads(json.dumps(own)) == recorded["own"]
        assert not list(differences(recorded["resolved"], resolved(own, tmp_path).to_dict()))


@pytest.mark.parametrize("number", EXPERIMENTS)
def test_every_run_of_an_experiment_is_valid_and_builds_its_method(
    number: str, experiments: Any, tmp_path: Path
) -> None:
    """On the meta device; the seeds of a config share all that is built."""
    built = set()
    for own in experiments.generate_experiment_cfgs(int(number)):
        cfg = resolved(own, tmp_path)
        check_run(cfg)
        key = json.dumps([cfg.model, cfg.uda])
        if key not in built:
            built.add(key)
            with torch.device("meta"):
                method = build_train_model(cfg)
            assert method.mic is not None  # all of them are about MIC


def test_unknown_experiment_names_the_known_ones(experiments):
    with pytest.raises(ValueError, match="expected an experiment among 80, .* 85, got 7"):
        experiments.generate_experiment_cfgs(7)
