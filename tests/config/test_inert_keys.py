"""Keys without effect at the top level of a config are named once, with what has the effect."""

import logging
from pathlib import Path
from typing import Any

import pytest
import tiny_run
from demo_project import ROOT

from mmseg.apis import TrainOptions, run_training
from mmseg.config import Config, load_config, read_run
from mmseg.config.checking import keys_of
from mmseg.config.language.known_keys import INERT, READ, TECHNICAL, WITHOUT_EFFECT, inert_notice
from mmseg.config.run_config import RunConfig

OTHERS: dict[str, Any] = {  # what asks for something else than a run of 40 iterations does
    "custom_hooks": [{"type": "NumClassCheckHook"}],
    "total_iters": 80,
    "total_epochs": 3,
    "workflow": [("train", 2), ("val", 1)],
    "auto_resume": True,
}
TRAIN_ONLY: list[Any] = [[("train", 1)], [["train", 1]]]
SAME: list[tuple[str, Any]] = [("total_iters", 40), *(("workflow", flow) for flow in TRAIN_ONLY)]
EMPTY: list[Any] = [None, [], {}, False, 0]


def notice(**values: Any) -> Any:
    return read_run(Config({"runner": {"max_iters": 40}, **values})).notice


def test_every_key_without_effect_is_tried() -> None:
    assert set(OTHERS) == set(WITHOUT_EFFECT)
    assert not READ & INERT


@pytest.mark.parametrize(("key", "value"), OTHERS.items())
def test_a_key_that_asks_for_something_else_is_a_warning(key: str, value: Any) -> None:
    level, line = notice(**{key: value})
    assert level == logging.WARNING
    assert line == f"These keys of the config have no effect: {key} (use {WITHOUT_EFFECT[key]})."


@pytest.mark.parametrize(("key", "value"), [*SAME, *((key, "x") for key in sorted(TECHNICAL))])
def test_a_key_without_which_nothing_is_lost_is_no_warning(key: str, value: Any) -> None:
    expected = f"These keys of the config have no effect: {key}."
    assert notice(**{key: value}) == (logging.INFO, expected)


@pytest.mark.parametrize("key", sorted(INERT))
def test_an_empty_value_is_nothing_to_speak_of(key: str) -> None:
    assert [notice(**{key: value}) for value in EMPTY] == [None] * len(EMPTY)


def test_all_stand_in_one_line_and_those_that_matter_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "runner = dict(max_iters=40)\ngpu_ids = [1]\ncustom_hooks = [dict(type='A')]\n"
        "my_own_variable = 5\ntotal_iters = 7\n"
    )
    level, line = inert_notice(load_config(file), 40) or (0, "")
    assert level == logging.WARNING
    assert "no effect: gpu_ids, custom_hooks (" in line
    assert f"{file}:3, use log_config.hooks" in line
    assert f"total_iters ({file}:5, use runner.max_iters)" in line
    assert "my_own_variable" not in line


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*/*.py")), ids=str)
def test_no_shipped_config_causes_a_warning(file: Path) -> None:
    if file.parent.name in ("_base_", "generated"):
        return
    level, line = read_run(load_config(file)).notice or (logging.INFO, "")
    assert level == logging.INFO
    assert not set(WITHOUT_EFFECT) - {"workflow"} & set(line.split())


def test_what_a_run_reads_counts_as_known() -> None:
    """So nobody is told that a key which has an effect has none."""
    assert set(keys_of(RunConfig)[0]) <= READ


def test_the_page_names_every_key() -> None:
    page = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
    for key, instead in WITHOUT_EFFECT.items():
        assert f"| `{key}` | {instead} |" in page
    assert all(f"`{key}`" in page.partition("## Keys without effect")[2] for key in TECHNICAL)


def test_a_run_says_it_once(tmp_path: Path) -> None:
    tiny_run.write_pictures(tmp_path)
    values = tiny_run.config(tmp_path, custom_hooks=OTHERS["custom_hooks"], dist_params={"a": 1})
    run_training(Config(values), TrainOptions(str(tmp_path / "run"), validate=False))
    (log,) = (tmp_path / "run").glob("*.log")
    lines = [line for line in log.read_text().splitlines() if "custom_hooks" in line]
    assert len(lines) == 1
    assert " - WARNING - These keys of the config have no effect: dist_params, cust" in lines[0]
