"""The config language, on files written here."""

import copy
import pickle
from pathlib import Path

import pytest

from mmseg.config import Config, find_config, load_config, parse_options
from mmseg.system.errors import ConfigError


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_child_merges_into_its_bases(tmp_path: Path) -> None:
    write(
        tmp_path,
        model="model = dict(type='Net', head=dict(channels=3, dilations=(1, 6)))",
        schedule="optimizer = dict(lr=0.1)\nlr_config = dict(policy='poly', power=1.0)",
        child="_base_ = ['model.py', 'schedule.py']\n"
        "import math\nsize = int(math.sqrt(25))\n"
        "model = dict(head=dict(channels=size))\n"
        "lr_config = dict(_delete_=True, policy='fixed')",
    )
    cfg = load_config(tmp_path / "child")
    assert cfg.to_dict() == {
        "model": {"type": "Net", "head": {"channels": 5, "dilations": (1, 6)}},
        "optimizer": {"lr": 0.1},
        "lr_config": {"policy": "fixed"},
        "size": 5,
    }
    assert cfg.model.head.origins["channels"].endswith("child.py:4")
    assert cfg.model.head.origins["dilations"].endswith("model.py:1")


def test_delete_mark_without_a_base_leaves_no_key(tmp_path: Path) -> None:
    write(tmp_path, one="a = dict(b=dict(_delete_=True, c=2))")
    assert load_config(tmp_path / "one.py").to_dict() == {"a": {"b": {"c": 2}}}


def test_suffix_may_be_left_out_even_with_a_dot_in_the_name(tmp_path: Path) -> None:
    write(tmp_path, **{"run_a0.999": "seed = 2"})
    assert load_config(tmp_path / "run_a0.999").seed == 2


def test_missing_config_names_a_similar_one(tmp_path: Path) -> None:
    write(tmp_path, gta2cs_daformer="seed = 1")
    with pytest.raises(FileNotFoundError, match=r"gta2cs_daformer\.py"):
        find_config(tmp_path / "gta2cs_dafomer.py")


def test_missing_base_is_named(tmp_path: Path) -> None:
    write(tmp_path, child="_base_ = 'nowhere.py'")
    with pytest.raises(FileNotFoundError, match=r"child\.py: its _base_ 'nowhere.py'"):
        load_config(tmp_path / "child.py")


def test_key_in_two_bases_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, a="seed = 1", b="seed = 2", child="_base_ = ['a.py', 'b.py']")
    with pytest.raises(ConfigError, match="set 'seed'"):
        load_config(tmp_path / "child.py")


def test_dictionary_over_a_number_needs_delete(tmp_path: Path) -> None:
    write(tmp_path, a="model = 3", child="_base_ = 'a.py'\nmodel = dict(type='Net')")
    with pytest.raises(ConfigError, match=r"child\.py:2: 'model' is a dictionary here but int"):
        load_config(tmp_path / "child.py")


def test_circular_inheritance_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, a="_base_ = 'b.py'", b="_base_ = 'a.py'")
    with pytest.raises(ConfigError, match="inherits from itself"):
        load_config(tmp_path / "a.py")


def test_name_with_a_typo_at_the_top_level_is_warned_about(tmp_path: Path) -> None:
    write(tmp_path, a="optimizr = dict(lr=1)")
    with pytest.warns(UserWarning, match="did you mean 'optimizer'"):
        load_config(tmp_path / "a.py")


def test_dumped_config_loads_to_the_same_values(tmp_path: Path) -> None:
    cfg = Config({"a": {"b": (1, 2), "c": [None, True, {"d": 0.5}]}, "e": "text"})
    for name in ("out.py", "out.json"):
        cfg.dump(tmp_path / name)
    assert load_config(tmp_path / "out.py").to_dict() == cfg.to_dict()
    assert load_config(tmp_path / "out.json").a.b == [1, 2]


def test_options_reach_into_lists_and_keep_types() -> None:
    cfg = Config({"data": {"steps": [{"size": (1, 2)}, {"prob": 0.5}]}, "seed": 0})
    cfg.merge_options(parse_options(["data.steps.1.prob=1.0", "data.steps.0.size=(3,4)", "new=x"]))
    assert cfg.to_dict() == {
        "data": {"steps": [{"size": (3, 4)}, {"prob": 1.0}]},
        "seed": 0,
        "new": "x",
    }


def test_option_with_a_wrong_path_names_the_nearest_key() -> None:
    with pytest.raises(ConfigError, match="did you mean 'optimizer'"):
        Config({"optimizer": {"lr": 1}}).merge_options({"optimzer.lr": 2})


def test_options_open_sections_that_a_config_leaves_out() -> None:
    """The shipped configs have `optimizer_config = None` and no `amp`."""
    cfg = Config({"optimizer_config": None, "model": None})
    cfg.merge_options({"optimizer_config.cumulative_iters": 2, "amp.dtype": "bfloat16"})
    cfg.merge_options({"optimizer_config.grad_clip.max_norm": 1.0})
    assert cfg.optimizer_config == {"cumulative_iters": 2, "grad_clip": {"max_norm": 1.0}}
    assert cfg.amp.dtype == "bfloat16"
    with pytest.raises(ConfigError, match="'model.type' points into None"):
        cfg.merge_options({"model.type": "Net"})


def test_copies_and_pickles_are_independent_and_keep_origins(tmp_path: Path) -> None:
    write(tmp_path, a="model = dict(type='Net', size=3)")
    cfg = load_config(tmp_path / "a.py")
    for twin in (copy.deepcopy(cfg), pickle.loads(pickle.dumps(cfg))):
        twin.model.size = 4
        assert cfg.model.size == 3
        assert twin.model.origins == cfg.model.origins


def test_missing_attribute_names_the_nearest_key() -> None:
    with pytest.raises(AttributeError, match="did you mean 'evaluation'"):
        _ = Config({"evaluation": {}}).evalution


def test_custom_imports_register_a_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_head.py").write_text(
        "from mmseg.config.registry import HEADS\n@HEADS.register()\nclass MyOwnHead:\n    pass\n"
    )
    write(tmp_path, cfg="custom_imports = dict(imports=['my_own_head'])")
    monkeypatch.chdir(tmp_path)
    load_config("cfg")
    from mmseg.config.registry import HEADS

    assert "MyOwnHead" in HEADS


def test_custom_import_that_fails_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, cfg="custom_imports = dict(imports=['no_such_module_here'])")
    with pytest.raises(ImportError, match="no_such_module_here"):
        load_config(tmp_path / "cfg")
