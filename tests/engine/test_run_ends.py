"""How a run begins in its folder, and what a command says and returns when it ends early."""

import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch

from mmseg.apis.run_folder import choose_start, continue_command
from mmseg.apis.train_options import TrainOptions
from mmseg.cli import endings
from mmseg.config import load_config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.system.interruption import EXIT_STATUS, RunInterrupted

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tools import train as train_tool  # noqa: E402


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of source-only training that needs no second."""
    root = tmp_path_factory.mktemp("project")
    tiny_run.write_pictures(root)
    values = tiny_run.config(root, uda={"type": "DACS", "source_only": True})
    del values["seed"]
    return tiny_run.write_config(root / "source_only.py", values)


def train(config: Path, work_dir: Path, *options: str) -> None:
    train_tool.main([str(config), "--no-validate", "--work-dir", str(work_dir), *options])


def text_of_log(work_dir: Path) -> str:
    (file,) = work_dir.glob("*.log")
    return file.read_text(encoding="utf-8")


def test_a_run_that_diverges_says_so_once(config: Path, tmp_path: Path, capsys: Any) -> None:
    """An infinite step after the first iteration: the console and the log have one sentence each.

    The checkpoint of iteration 1 is not written, because its weights are worthless already.
    """
    options = ["optimizer.lr=1e38", "checkpoint_config.interval=1", "runner.max_iters=3"]
    with pytest.raises(SystemExit) as caught:
        train(config, tmp_path, "--cfg-options", *options)
    sentence = "expected finite weights, got "
    assert str(caught.value).startswith(f"FloatingPointError: {sentence}")
    assert str(caught.value).endswith("and start again.")
    captured = capsys.readouterr()
    assert sentence not in captured.out + captured.err
    log = text_of_log(tmp_path)
    assert log.count(sentence) == 1
    assert "The run ended early: expected finite weights" in log
    assert "Traceback" not in log
    assert not list(tmp_path.glob("*.pth"))


def test_a_mistake_of_the_program_leaves_its_traceback_in_the_log(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("mistake")

    monkeypatch.setattr("mmseg.apis.train.build_optimizer", broken)
    with pytest.raises(KeyError):
        train(config, tmp_path)
    log = text_of_log(tmp_path)
    assert "The run ended early: 'mistake'" in log
    assert "Traceback" in log


def test_an_interrupted_command_has_a_status_of_its_own(capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught, endings.user_errors():
        raise RunInterrupted("SIGTERM ended the run")
    assert caught.value.code == EXIT_STATUS == 75
    assert capsys.readouterr() == ("", "SIGTERM ended the run\n")


def test_a_work_folder_that_cannot_be_written_ends_the_command_first(
    config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(SystemExit, match="expected to write '.*/file'.*not a file"):
        train(config, file)
    assert file.read_text() == "x"


def test_half_written_files_are_removed_at_the_start(config: Path, tmp_path: Path) -> None:
    from mmseg.system.files import partial_of

    left_over = partial_of(tmp_path / "iter_2.pth")
    left_over.write_bytes(b"half")
    train(config, tmp_path, "--cfg-options", "runner.max_iters=1")
    assert not left_over.exists()
    assert (tmp_path / "latest.pth").is_file()


def test_a_resumed_run_without_a_seed_keeps_the_one_it_began_with(
    config: Path, tmp_path: Path
) -> None:
    cfg = load_config(config)
    cfg["work_dir"] = str(tmp_path)
    cfg_of_second = cfg.copy()
    choose_start(cfg, None)
    content = {"state_dict": {}, "optimizer": {"state": {}}, "iteration": 3, "seed": cfg.seed}
    torch.save(content, tmp_path / "latest.pth")
    choose_start(cfg_of_second, "auto")
    assert cfg_of_second.seed == cfg.seed
    assert cfg_of_second.resume_from == str(tmp_path / "latest.pth")
    kept = load_config(tmp_path / "source_only")
    assert kept.seed == cfg.seed
    assert kept.get("resume_from") is None


def test_the_seed_of_the_command_line_goes_first(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path, "--seed", "41", "--cfg-options", "runner.max_iters=1", "seed=42")
    assert read_checkpoint(tmp_path / "latest.pth")["seed"] == 41


def test_the_command_that_continues_repeats_what_is_not_in_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path with a space is quoted; the tool's path is relative where that is enough."""
    config = Path("work_dirs/my run/config.py")
    options = TrainOptions(deterministic=True, validate=False, trust_checkpoint=True).to_repeat()
    monkeypatch.chdir(ROOT)
    assert continue_command(config, *options) == (
        "python tools/train.py 'work_dirs/my run/config.py' --resume auto "
        "--deterministic --no-validate --trust-checkpoint"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mmseg.system.processes.world_size", lambda: 4)
    assert TrainOptions().to_repeat() == []
    assert continue_command(config) == (
        f"python {ROOT / 'tools/train.py'} 'work_dirs/my run/config.py' --resume auto "
        "(by the launcher of this run, with 4 processes)"
    )
