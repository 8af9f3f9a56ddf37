"""A series of runs: which there are, which can run, and where the same command goes on."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_runs
import tiny_run
from patience import PATIENCE

import run_experiments
from mmseg.apis.series.runs import runs_of_config
from mmseg.apis.series.series import Series, SeriesError, run_series
from mmseg.engine.checkpoint import CheckpointError
from mmseg.engine.trainer import Trainer
from mmseg.system.errors import ConfigError
from mmseg.system.full_memory import FullMemoryError
from mmseg.system.interruption import EXIT_STATUS, RunInterrupted
from mmseg.system.processes import ProcessGroupError
from mmseg.system.workers import WorkerError

ROOT = Path(__file__).parents[2]
FOLDER = Path("work_dirs/local-exp80")
QUICK = {"uda": {"type": "DACS", "source_only": True}, "evaluation": {"interval": 1}}
HOLD = """import sys, pathlib
from mmseg.system.folder_lock import only_writer
with only_writer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    tiny_run.write_pictures(root)
    return root


@pytest.fixture
def project(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which experiment 80 is the runs `a_s0` and `a_s1`."""
    tiny_run.write_config(tmp_path / "configs/tiny/base.py", tiny_run.config(material, **QUICK))
    monkeypatch.chdir(tmp_path)
    declare(monkeypatch, own("a", 0), own("a", 1))
    return tmp_path


def own(name: str, seed: int, base: str = "tiny/base.py", **values: Any) -> dict[str, Any]:
    return {"_base_": [base], "name": f"{name}_s{seed}", "seed": seed, **values}


def declare(monkeypatch: pytest.MonkeyPatch, *configs: dict[str, Any]) -> None:
    monkeypatch.setattr("experiments.generate_experiment_cfgs", lambda _: list(configs))


def start(*words: str) -> object:
    """Run the command; return its status, or what it says at its end."""
    try:
        return run_experiments.main(["--exp", "80", *words])
    except SystemExit as end:
        return end.code


def rows(said: str) -> list[list[str]]:
    """Return the rows of the table of a dry run."""
    return [[cell.strip() for cell in line.split(" | ")] for line in said.splitlines()[2:]]


def runs(folder: Path = FOLDER) -> list[str]:
    """Return the names of the runs in a folder, without stamps."""
    return sorted(re.sub(r"^\d+_\d+_|_[0-9a-f]{5}$", "", path.name) for path in folders(folder))


def folders(folder: Path = FOLDER) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())


def written(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """The iterations that are trained, as (run, iteration); the list may hold a strike."""
    done: list[tuple[str, int]] = []
    step = Trainer.step

    def counted(trainer: Trainer, batch: Any) -> None:
        step(trainer, batch)
        (name,) = re.findall(r"^\d+_\d+_(\w+_s\d+)_", trainer.work_dir.name)
        done.append((name, trainer.progress.iteration))
        if done[0][0] == "strike" and done[-1] == STRUCK:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "step", counted)
    yield done


STRUCK = ("a_s1", 1)


@pytest.mark.parametrize("experiment", ["80", "81", "83", "84", "85"])
def test_a_dry_run_lists_every_run_and_writes_nothing(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_experiments.main(["--exp", experiment, "--dry-run"]) == 0
    table = rows(capsys.readouterr().out)
    from experiments import generate_experiment_cfgs

    configs = generate_experiment_cfgs(int(experiment))
    assert [row[0] for row in table] == [config["name"] for config in configs]
    assert [row[2] for row in table] == [str(config["seed"]) for config in configs]
    assert {row[3] for row in table} == {"new"}
    if experiment == "80":
        assert table[0][4] == "data/gta; data/cityscapes; pretrained/mit_b5.pth"
        assert "uda_gtaHR_to_cityscapesHR_1024x1024" in table[0][1]
    assert not written(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "a_s0 a_s1 b_s0"),
        ("--only b", "b_s0"),
        ("--only *_s0", "a_s0 b_s0"),
        ("--only ?_s1", "a_s1"),
        ("--seeds 1 7", "a_s1 a_s7 b_s1 b_s7"),
        ("--seed 3", "a_s3 b_s3"),
        ("--seeds 7 0 7 --only a", "a_s7 a_s0"),
    ],
)
def test_options_choose_runs(
    words: str, expected: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    declare(monkeypatch, own("a", 0), own("a", 1), own("b", 0))
    assert start("--dry-run", *words.split()) == 0
    table = rows(capsys.readouterr().out)
    assert [row[0] for row in table] == expected.split()
    assert [f"s{row[2]}" for row in table] == [name.partition("_")[2] for name in expected.split()]
    assert {tuple(row[3:]) for row in table} == {("new", "nothing")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--exp 80 --only nothing",
            "expected --only .*, got 'nothing', which fits .*\n  a_s0\n  a_s1",
        ),
        ("--exp 80 --cfg-options seed=3", "expected the seeds .* as --seeds, .* Use --seeds 3"),
        ("--config c.py --seeds 1 --cfg-options work_dir=x", "expected --seeds without .*work_dir"),
        ("--config c.py --only a", "expected --only with --exp or --seeds, got a single run"),
        ("--config c.py --resume auto", "expected --resume with --exp or --seeds, .*tools/train"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: str, message: str, project: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_experiments.main(words.split())
    assert re.search(message, str(caught.value), re.DOTALL)


def test_one_seed_or_several(project: Path, capsys: Any) -> None:
    assert start("--seed", "1", "--seeds", "2") == 2
    assert "expected --seed or --seeds, got both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "seeds", "names"),
    [("x", (4, 2), ["x_s4", "x_s2"]), ("x_s3", (1,), ["x_s1"]), ("x_s3", (), ["x_s3"])],
)
def test_the_seed_ends_the_name_of_a_config(
    name: str, seeds: tuple[int, ...], names: list[str], project: Path
) -> None:
    found = runs_of_config("configs/tiny/base", {"name": name}, seeds)
    assert [run.name for run in found] == names
    assert [run.config().seed for run in found] == list(seeds or (5,))


def test_what_can_run_runs_and_the_rest_is_listed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """One has no config, one diverges, one has a folder that is not there."""
    declare(
        monkeypatch,
        own("lost", 0, "tiny/lost.py"),
        own("wild", 0, optimizer={"lr": 1e38}),
        own("poor", 0, data={"val": {"data_root": "nowhere"}}),
        own("a", 0),
    )
    end = str(start())
    assert end.startswith("SeriesError: expected all of 4 runs to finish, got 3 that did not. ")
    assert re.search(r"\n  lost_s0: lacks configs/tiny/lost.py\n", end)
    assert re.search(r"\n  wild_s0: FloatingPointError: expected finite ", end)
    assert end.endswith("\n  poor_s0: lacks nowhere")
    said = capsys.readouterr().out
    assert "2 of 4 runs cannot start here:" in said
    assert "expected a folder at 'nowhere' (data.val.data_root), got no such folder. See" in said
    assert runs() == ["a_s0", "wild_s0"]
    assert json.loads((FOLDER / "summary.json").read_text())["configs"][0]["name"] == "a"


def test_nothing_that_can_run_is_an_error_that_names_the_first(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, own("poor", 0, load_from="none.pth"), own("lost", 0, "tiny/lost.py"))
    words = "got none of 2 runs: the first, poor_s0, lacks none.pth. "
    assert words in str(start())
    assert not FOLDER.exists()


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (ConfigError("x"), False),
        (FileNotFoundError("x"), False),
        (FloatingPointError("x"), False),
        (CheckpointError("x"), False),
        (FullMemoryError("x"), False),
        (KeyError("a mistake of the program"), True),
        (KeyboardInterrupt(), True),
        (RunInterrupted("x"), True),
        (WorkerError("x"), True),
        (ProcessGroupError("x"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_run_and_what_ends_the_series(
    error: BaseException, ends: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run_training(cfg: Any, _: Any) -> None:
        started.append(cfg.seed)
        if len(started) == 2:
            raise error

    monkeypatch.setattr("mmseg.apis.series.series.run_training", run_training)
    monkeypatch.setattr("mmseg.system.errors.PACKAGE", Path(__file__).parent)  # raises its own
    found = runs_of_config("configs/tiny/base", {}, (4, 2, 7))
    with pytest.raises(type(error) if ends else SeriesError):
        run_series(Series(found, Path("work_dirs/local-basic")))
    assert started == ([4, 2] if ends else [4, 2, 7])


def test_the_summary_is_about_all_runs_of_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, own("a", 0), own("b", 0))
    for name in "ba":
        assert start("--only", name) == 0
    configs = json.loads((FOLDER / "summary.json").read_text())["configs"]
    assert [entry["name"] for entry in configs] == ["a", "b"]


def test_an_interrupted_series_goes_on_as_if_nothing_had_happened(
    project: Path, steps: list[tuple[str, int]], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, *(own("a", seed) for seed in range(3)))
    assert start() == 0
    whole = folders()
    FOLDER.rename("whole")
    assert steps == [(f"a_s{seed}", i) for seed in range(3) for i in (1, 2)]
    steps[:] = [("strike", 0)]
    assert start() == EXIT_STATUS
    assert "The command that started the series goes on with all of it." in capsys.readouterr().err
    assert runs() == ["a_s0", "a_s1"]
    assert start("--dry-run") == 0
    states = [row[3] for row in rows(capsys.readouterr().out)]
    assert states == ["finished", "to continue", "new"]
    steps.clear()
    assert start() == 0
    assert steps == [("a_s1", 2), ("a_s2", 1), ("a_s2", 2)]
    assert runs() == ["a_s0", "a_s1", "a_s2"]
    for before, after in zip((Path("whole", f.name) for f in whole), folders(), strict=True):
        assert not small_runs.differences(before / "latest.pth", after / "latest.pth")
        assert small_runs.logged(before) == small_runs.logged(after)
    texts = [Path(f, "summary.json").read_text() for f in ("whole", FOLDER)]
    summaries = [json.loads(re.sub(r'"work_dirs/.*"', '""', text)) for text in texts]
    assert summaries[0] == summaries[1]
    steps.clear()
    assert start() == 0  # all are finished
    assert not steps


def test_another_config_is_another_run(
    project: Path, steps: list[tuple[str, int]], capsys: Any
) -> None:
    assert start("--seeds", "0") == 0
    assert start("--seeds", "0", "--cfg-options", "optimizer.lr=1e-4") == 0
    assert runs() == ["a_s0", "a_s0"]
    assert "a_s0: 1 earlier run(s) with another config stay as they are" in capsys.readouterr().out
    assert start("--seeds", "0", "--resume", "none") == 0
    assert len(runs()) == 3
    assert start("--seeds", "0", "--startup-test") == 0
    assert start("--seeds", "0", "--startup-test") == 0
    assert runs(Path("work_dirs/local-exp80-startup")) == ["a_s0", "a_s0"]
    steps.clear()
    assert start("--seeds", "0", "--cfg-options", "optimizer.lr=1e-4") == 0
    assert not steps


def test_a_config_with_seeds_is_a_series(project: Path, steps: list[Any], capsys: Any) -> None:
    words = ["--config", "configs/tiny/base", "--seeds", "3", "1", "--no-validate"]
    assert run_experiments.main(words) == 0
    folder = Path("work_dirs/local-basic")
    assert runs(folder) == ["tiny_s1", "tiny_s3"]
    assert steps == [("tiny_s3", 1), ("tiny_s3", 2), ("tiny_s1", 1), ("tiny_s1", 2)]
    steps.clear()
    assert run_experiments.main(words) == 0
    assert not steps
    assert run_experiments.main(words[:-1]) == 0  # only the evaluation is left
    assert not steps
    (entry,) = json.loads((folder / "summary_tiny.json").read_text())["configs"]
    assert entry["seeds"] == [3, 1]


def test_a_run_of_another_command_is_left_to_it(project: Path, steps: list[Any]) -> None:
    assert start("--seeds", "0") == 0
    (folder,) = folders()
    for file in (*folder.glob("*.pth"), *folder.glob("*.log.json")):
        file.unlink()  # as if it had just begun
    holding = [sys.executable, "-c", HOLD, str(folder)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(holding, cwd=project, env=environment(), text=True, **pipes) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        steps.clear()
        end = str(start())
        other.communicate(timeout=PATIENCE)
    assert end.endswith(f"\n  a_s0: is run by another command in '{folder}'")
    assert steps == [("a_s1", 1), ("a_s1", 2)]


def test_tests_of_a_run_do_not_make_it_unfinished(project: Path, steps: list[Any]) -> None:
    """`tools/test.py` replaces `results.json`; and who needs no checkpoint may delete all."""
    assert start("--seeds", "0") == 0
    (folder,) = folders()
    (folder / "results.json").write_text("{}")
    for file in folder.glob("*.pth"):
        file.unlink()
    steps.clear()
    assert start("--seeds", "0") == 0
    assert not steps


def environment() -> dict[str, str]:
    own_variables = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **own_variables}


@pytest.mark.slow
def test_several_processes_take_the_same_decisions(project: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = ["--config", "configs/tiny/base", "--seeds", "3", "1"]
    for expected in (2, 0):
        done = subprocess.run(
            [*launch, str(ROOT / "run_experiments.py"), *words],
            cwd=project, env=environment(), capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(" begins: ") == expected
        assert done.stdout.count("Iter [2/2]") == expected
    assert runs(Path("work_dirs/local-basic")) == ["tiny_s1", "tiny_s3"]
