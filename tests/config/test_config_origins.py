"""Every section knows where each of its keys was written, and its own dotted path."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from mmseg.config import Config, ConfigDict, load_config
from mmseg.config.language.listing import leaves
from tools import diff_config, print_config

PYTHON = """\
import math

size = dict(
    rows=3, columns=4)
steps = [
    dict(type='A'),
    {'type': 'B',
     'size': size},
]
model = dict(
    head=dict(a=1,
              b=math.pi),
    **size)
model['head']['c'] = 2
if size:
    made = {str(n): dict(n=n)
            for n in range(2)}
first, second = dict(a=1), 2
alias = model
second += 1
"""
YAML = "size:\n  rows: 3\nsteps:\n- type: A\n- {type: B,\n   size: 4}\n3x: {3: 1}\n"


@pytest.mark.parametrize(
    ("suffix", "text", "lines"),
    [
        (
            ".py",
            PYTHON,
            {"size.rows": 4, "size.columns": 4, "steps.0.type": 6, "steps.1.type": 7}
            | {"steps.1.size.rows": 4, "model.head.a": 11, "model.head.b": 12}
            | {"steps.1.size.columns": 4, "model.rows": 4, "model.columns": 4, "model.head.c": 14}
            | {"made.0.n": 16, "made.1.n": 16, "first.a": 18, "second": 20}
            | {"alias.rows": 4, "alias.columns": 4}
            | {"alias.head.a": 11, "alias.head.b": 12, "alias.head.c": 14},
        ),
        (
            ".yaml",
            YAML,
            {"size.rows": 2, "steps.0.type": 4, "steps.1.type": 5, "steps.1.size": 6, "3x.3": 7},
        ),
        (
            ".json",
            json.dumps({"a": {"b": 1}, "c": [{"d": "\t/\\/"}]}, indent="\t"),
            {"a.b": 3, "c.0.d": 7},
        ),
    ],
)
def test_origin_is_the_line_of_the_key(
    suffix: str, text: str, lines: dict[str, int], tmp_path: Path
) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_text(text)
    found = {path: origin for path, _, origin in leaves(load_config(file))}
    assert found == {path: f"{file}:{line}" for path, line in lines.items()}


def test_origins_and_paths_survive_merging_copies_and_pickles(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("data = dict(train=dict(steps=[dict(p=1), dict(p=2)], q=3))")
    (tmp_path / "b.py").write_text("_base_ = 'a.py'\n\ndata = dict(train=dict(q=4))")
    cfg = load_config(tmp_path / "b.py")
    cfg.merge_options({"data.train.steps.1.p": 5})
    for twin in (
        cfg, copy.copy(cfg), copy.deepcopy(cfg), cfg.copy(), pickle.loads(pickle.dumps(cfg)),
    ):  # fmt: skip
        train = twin.data.train
        assert train.origins == {"steps": f"{tmp_path}/a.py:1", "q": f"{tmp_path}/b.py:3"}
        assert train.steps[0].origins == {"p": f"{tmp_path}/a.py:1"}
        assert train.steps[1].origins == {"p": "--cfg-options"}
        assert (twin.path, train.path, train.steps[1].path) == (
            "",
            "data.train",
            "data.train.steps.1",
        )
        assert (twin.filename, twin.text) == (cfg.filename, cfg.text)
    assert copy.deepcopy(cfg.data.train).path == "data.train"


def test_path_is_stamped_by_the_constructor_and_no_key() -> None:
    section = ConfigDict({"b": {"c": 1}})
    cfg = Config({"a": section})
    assert (section.b.path, cfg.a.b.path, list(cfg.a)) == ("", "a.b", ["b"])


def test_dictionary_methods_keep_attribute_access() -> None:
    cfg = Config({"a": {}})
    cfg.update({"b": {"c": 1}}, d=[{"e": 2}])
    cfg.setdefault("f", {"g": 3}).g += 1
    cfg.a.b = {"h": 5}
    assert (cfg.b.c, cfg.d[0].e, cfg.f.g, cfg.a.b.h, cfg.setdefault("f")) == (1, 2, 4, 5, {"g": 4})
    assert (cfg.pop("b"), cfg.get("b", 6)) == ({"c": 1}, 6)
    del cfg.a
    with pytest.raises(AttributeError, match="no key 'a'"):
        del cfg.a


def test_print_config_shows_the_origin_of_each_value(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.py").write_text("a = 1\nb = [dict(c=(2, 'x'))]\nd = {}")
    options = ["--cfg-options", "a=2", "--cfg-options", "a=3"]
    print_config.main([str(tmp_path / "a"), "--origin", *options])
    assert capsys.readouterr().out == (
        "a = 3  # --cfg-options\n"
        f"b.0.c = (2, 'x')  # {tmp_path}/a.py:2\n"
        f"d = {{}}  # {tmp_path}/a.py:3\n"
    )


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        ("", []),
        ("a = float('nan')", []),
        ("seed = 1", ["+ seed = 1"]),
        ("b = dict(_delete_=True)", ["- b.c = 1", "- b.d = {}"]),
        ("b = dict(c=1.0, e=dict(f=2))", ["- b.c = 1", "+ b.c = 1.0", "+ b.e.f = 2"]),
        ("steps = (dict(t=1), dict(t=2, k=3))", ["- steps.0.t = 1", "- steps.1.t = 2"]
         + ["+ steps.0.t = 1", "+ steps.1.t = 2", "+ steps.1.k = 3"]),
        ("steps = [dict(t=1), dict(t=2, k=3)]", ["+ steps.1.k = 3"]),
        ("steps = [dict(t=0), dict(t=1), dict(t=2)]", ["+ steps.0.t = 0"]),
        ("steps = [dict(t=2)]", ["- steps.0.t = 1"]),
        ("sizes = [1, 2]", ["- sizes = (1, 2)", "+ sizes = [1, 2]"]),
    ],
)  # fmt: skip
def test_diff_config_lists_what_differs(
    other: str, lines: list[str], tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "a.py").write_text(
        "a = float('nan')\nb = dict(c=1, d={})\nsteps = [dict(t=1), dict(t=2)]\nsizes = (1, 2)"
    )
    (tmp_path / "b.py").write_text(f"_base_ = 'a.py'\n{other}")
    status = diff_config.main([str(tmp_path / "a"), str(tmp_path / "b")])
    out = capsys.readouterr().out
    assert status == bool(lines)
    assert out.splitlines() == lines if lines else "are equal." in out


def test_diff_config_ends_errors_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No config file at"):
        diff_config.main([str(tmp_path / "a"), str(tmp_path / "b")])
