"""Commands are called as they were started, and the program's own files are found by name."""

import sys
from pathlib import Path

import pytest
from demo_project import ROOT

from mmseg.config import load_config
from mmseg.config.run_config import read_run
from mmseg.system.shipped import as_called, command, find, root

CONFIG = "demo/daformer"
SENTENCE = "Make it with: python tools/convert_datasets/gta.py data (see docs/data.md)."
AS_SCRIPT = f"Make it with: cdda-convert-gta data (see {ROOT / 'docs/data.md'})."

TORCHRUN = "torchrun --nproc_per_node 2"


@pytest.fixture
def by_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/env/bin/cdda-train"])


def test_a_checkout_names_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert root() == ROOT
    assert as_called(SENTENCE) == SENTENCE
    monkeypatch.chdir(ROOT)
    assert command("tools/train.py") == ["python", str(Path("tools/train.py"))]
    monkeypatch.chdir(tmp_path)
    assert command("tools/train.py") == ["python", str(ROOT / "tools/train.py")]


@pytest.mark.usefixtures("by_console")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (SENTENCE, AS_SCRIPT),
        ("tools/make_depth.py makes it. sh test.sh", "cdda-depth makes it. cdda-test-run"),
        ("run run_seg.py again.", "run cdda-preprocess again."),
        (f"{TORCHRUN} tools/train.py X", f"{TORCHRUN} --no-python cdda-train X"),
        ("/my/tools/train.py, my_docs/data.md", "/my/tools/train.py, my_docs/data.md"),
    ],
)
def test_started_by_a_console_script_it_names_console_scripts(said: str, expected: str) -> None:
    assert as_called(said) == expected
    assert command("run_experiments.py") == ["cdda-experiments"]


def test_configs_and_weights_are_the_programs_own_unless_there_are_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (CONFIG, f"configs/{CONFIG}", f"configs/{CONFIG}.py"):
        cfg = load_config(name)
        assert cfg == load_config(ROOT / "configs" / CONFIG)
        assert read_run(cfg).load_from == str(ROOT / cfg.load_from)
    Path(cfg.load_from).parent.mkdir()
    Path(cfg.load_from).touch()
    assert read_run(cfg).load_from == cfg.load_from == find(cfg.load_from)
    (tmp_path / "configs/demo").mkdir(parents=True)
    (tmp_path / f"configs/{CONFIG}.py").write_text("seed = 73\n")
    assert load_config(CONFIG).seed == load_config(f"configs/{CONFIG}").seed == 73


def test_a_base_is_the_file_beside_its_config_or_else_the_programs_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("_base_ = 'configs/_base_/schedules/sgd.py'\n")
    assert load_config("mine").optimizer.type == "SGD"
    Path("configs/_base_/schedules").mkdir(parents=True)
    Path("configs/_base_/schedules/sgd.py").write_text("optimizer = dict(type='Mine')\n")
    assert load_config("mine").optimizer.type == "Mine"


def test_similar_names_are_those_of_both_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    Path("demo/daformers.py").touch()
    with pytest.raises(FileNotFoundError, match=r"demo.daformers\.py.*configs.demo.daformer\.py"):
        load_config("demo/daformerss")
