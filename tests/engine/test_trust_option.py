"""Every command that loads a file refuses one that runs a program, unless told to trust it."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_run
import torch
from crafted_files import LEGACY, by_system

import run_experiments
from tools import export_submission, publish_checkpoint
from tools import test as test_tool
from tools import train as train_tool

CONFIG = "configs/tiny.py"
TRAIN = [CONFIG, "--no-validate", "--work-dir", "run"]
CDDA = ["uda.dataset=gta", "uda.croped_images_path=a", "uda.croped_labels_path=b"]
CDDA += ["uda.reweight_threshold=0.5", "uda.relabel_threshold=0.5"]
COMMANDS: dict[str, tuple[Callable[[list[str]], object], list[str]]] = {
    "test": (test_tool.main, [CONFIG, "evil.pth"]),
    "publish": (publish_checkpoint.main, ["evil.pth", "out.pth"]),
    "submission": (
        export_submission.main,
        ["cityscapes", "--checkpoint", "evil.pth", "--config", CONFIG, "--out", "out.zip"],
    ),
    "resume": (train_tool.main, [*TRAIN, "--resume", "evil.pth"]),
    "load_from": (train_tool.main, [*TRAIN, "--cfg-options", "load_from=evil.pth"]),
    "pretrained": (train_tool.main, [*TRAIN, "--cfg-options", "model.pretrained=evil.pth"]),
    "bank": (train_tool.main, [*TRAIN, "--cfg-options", "uda.matrix_path=evil.pth", *CDDA]),
    "experiment": (
        run_experiments.main,
        ["--config", CONFIG, "--no-validate", "--cfg-options", "load_from=evil.pth"],
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trust")
    tiny_run.write_pictures(root)
    tiny_run.write_config(root / CONFIG, tiny_run.config(root, runner={"max_iters": 1}))
    return root


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_executed_unless_the_file_is_trusted(
    command: str,
    form: str,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No network is in the file: even then the command ends soon, but after the call."""
    monkeypatch.chdir(project)
    marker = tmp_path / "executed"
    content = {"state_dict": {"mic.b": torch.ones(2, 3)}, "meta": by_system(marker)}
    torch.save(content, "evil.pth", **(LEGACY if form == "legacy" else {}))
    main, arguments = COMMANDS[command]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    words = str(caught.value)
    assert not marker.exists()
    assert re.match(r"UnsafeFileError: expected .* at 'evil\.pth', got one that could run", words)
    assert f"it holds the type {os.name}.system" in words
    assert "add --trust-checkpoint" in words
    caplog.clear()
    # The option comes first: --cfg-options takes all that follows.
    position = 2 if command == "test" else 0
    with pytest.raises(SystemExit) as caught:
        main([*arguments[:position], "--trust-checkpoint", *arguments[position:]])
    assert marker.exists()
    assert "UnsafeFileError" not in str(caught.value)
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert any("Loading 'evil.pth' without protection" in message for message in warnings)
