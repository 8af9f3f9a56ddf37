"""`benchmarks/gpu_acceptance.py` without a GPU: the whole of it with tiny sizes, and its clock."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu_acceptance  # noqa: E402
from acceptance.bench import Bench, Section  # noqa: E402
from acceptance.clock import Clock  # noqa: E402
from acceptance.steps import count_operations  # noqa: E402
from gpu_acceptance import SECTIONS  # noqa: E402

NOT_NEEDED = ("pytest", "_pytest", "kornia", "transformers", "tensorboard")
# Python reads this file when it starts, in the script and in every process that it starts.
HIDE = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_NEEDED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def run(tmp_path: Path, sections: list[Section], *options: str) -> tuple[int, dict[str, Any]]:
    """Run some sections in this process; return the exit status and what was written."""
    arguments = ["--dry-run", "--out", str(tmp_path / "out"), *options]
    status = gpu_acceptance.main(arguments, sections)
    return status, json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))


def left_out(found: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["reason"] for entry in found["left_out"]}


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a whole dry run wrote to, without the packages that only tests need."""
    folder = tmp_path_factory.mktemp("dry")
    (folder / "hidden").mkdir()
    (folder / "hidden/sitecustomize.py").write_text(HIDE)
    results = folder / "RESULTS.md"
    results.write_text("# Measured results\n\nBefore.\n")
    command = [sys.executable, "benchmarks/gpu_acceptance.py", "--dry-run"]
    command += ["--out", str(folder / "out"), "--results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(folder / "hidden"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_dry_run_does_every_section_or_says_why_not(dry_run: Path) -> None:
    found = json.loads((dry_run / "out.json").read_text(encoding="utf-8"))
    assert list(found["section_seconds"]) == [section.name for section in SECTIONS]
    assert all(check["holds"] for check in found["checks"])
    names = " ".join(check["claim"] for check in found["checks"])
    for proof in ("recorded", "curve", "checkpoint", "deterministic", "resume", "gloo", "bfloat16"):
        assert proof in names, proof
    assert set(left_out(found)) == {
        "a step of source_only reads the device 0 times",
        "depth network",  # its package is hidden
    }
    assert set(found["measurements"]) == {
        "matrix product", "training step", "prediction", "depth metric", "loader", "switches",
    }  # fmt: skip
    steps = found["measurements"]["training step"]
    assert {row["mode"] for row in steps} == {"fp32", "TF32", "bf16"}
    assert all(row["fits"] and row["seconds"] > 0 and row["allocated_gb"] > 0 for row in steps)
    switched = {(row["config"], row["switch"]) for row in found["measurements"]["switches"]}
    assert {switch for _, switch in switched} >= {"with_cp", "--compile", "--compile max"}
    assert {"python", "torch", "cuda", "cores", "device"} <= found["machine"].keys()


def test_the_section_of_a_device_is_added_to_the_results_and_replaced(dry_run: Path) -> None:
    results = (dry_run / "RESULTS.md").read_text(encoding="utf-8")
    section = (dry_run / "out.md").read_text(encoding="utf-8")
    assert results.startswith("# Measured results\n\nBefore.\n\n<!-- gpu_acceptance ")
    assert section.strip() in results
    assert "| `demo/cdda_daformer` without CDDA | fp32 | 2 | " in section
    name = results.partition("<!-- ")[2].partition(": begin")[0]
    gpu_acceptance.write_section(name, "anew", dry_run / "RESULTS.md")
    replaced = (dry_run / "RESULTS.md").read_text(encoding="utf-8")
    expected = (
        f"# Measured results\n\nBefore.\n\n<!-- {name}: begin -->\nanew\n<!-- {name}: end -->"
    )
    assert replaced == f"{expected}\n"


def test_the_depth_network_is_measured_where_its_package_is(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    status, found = run(tmp_path, list(SECTIONS), "--only", "depth network")
    assert status == 0
    assert {row["amp"] for row in found["measurements"]["depth network"]} == {True, False}
    assert set(left_out(found)) == {section.name for section in SECTIONS} - {"depth network"}


def fails(bench: Bench) -> None:
    bench.record.check("one is two", 1 == 2, "1")


def raises(bench: Bench) -> None:
    raise KeyError("planted")


def works(bench: Bench) -> None:
    bench.record.measure("table", seconds=1.0)


def fills_the_memory(bench: Bench) -> None:
    """Once in a row of a table, once in the section itself."""
    with bench.trying("a step", "training step", config="c", mode="m", cdda=True):
        raise RuntimeError("advice") from torch.OutOfMemoryError("CUDA out of memory.")
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")


@pytest.mark.parametrize(("wrong", "claim"), [(fails, "one is two"), (raises, "runs without an")])
def test_what_is_wrong_ends_with_status_1_after_the_rest(
    tmp_path: Path, wrong: Callable[[Bench], None], claim: str
) -> None:
    status, found = run(tmp_path, [Section("wrong", wrong, 0), Section("next", works, 0)])
    assert status == 1
    assert [claim in check["claim"] for check in found["checks"]] == [True]
    assert found["measurements"] == {"table": [{"seconds": 1.0}]}
    assert "**0 of 1 checks hold.**" in (tmp_path / "out.md").read_text(encoding="utf-8")


def test_what_does_not_fit_into_the_memory_is_a_result(tmp_path: Path) -> None:
    status, found = run(tmp_path, [Section("full", fills_the_memory, 0)])
    assert status == 0
    (row,) = found["measurements"]["training step"]
    assert not row["fits"]
    assert row["allocated_gb"] > 0
    assert left_out(found)["full"].startswith("did not fit into memory: CUDA out of memory.")
    assert "| did not fit |" in (tmp_path / "out.md").read_text(encoding="utf-8")


class Late(Clock):
    """A clock whose time is over when a section says so."""

    is_over = False

    def left(self) -> float:
        return 0.0 if self.is_over else 0.05


def never_ends(bench: Bench) -> None:
    bench.record.measure("table", seconds=1.0)
    bench.clock.is_over = True
    while True:
        time.sleep(0.01)


def does_not_listen(bench: Bench) -> None:
    """As a call into a library that never returns."""
    bench.clock.is_over = True
    time.sleep(600)


def test_the_clock_stops_a_section_and_names_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_acceptance, "Clock", Late)
    status, found = run(tmp_path, [Section("endless", never_ends, 0), Section("next", works, 0)])
    assert status == 0
    assert left_out(found) == {
        "endless": "was stopped when time ran out",
        "next": "was not started in time",
    }
    assert found["measurements"] == {"table": [{"seconds": 1.0}]}


def test_no_section_starts_without_time(tmp_path: Path) -> None:
    status, found = run(tmp_path, list(SECTIONS), "--minutes", "0")
    assert status == 0
    assert set(left_out(found)) == {section.name for section in SECTIONS}
    assert found["section_seconds"] == {}


DEAF = """
import sys
sys.path.insert(0, "tests")
from test_gpu_acceptance import Late, Section, does_not_listen, gpu_acceptance
gpu_acceptance.Clock = Late
gpu_acceptance.main(["--dry-run", "--out", sys.argv[1]], [Section("deaf", does_not_listen, 0)])
"""


def test_the_clock_ends_a_process_that_does_not_listen(tmp_path: Path) -> None:
    """Its files are written all the same."""
    command = [sys.executable, "-c", DEAF, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert left_out(found) == {"deaf": "was stopped when time ran out"}


@pytest.mark.parametrize("groups", [1, 64])
def test_a_convolution_and_its_gradients_are_three_times_as_many_operations(groups: int) -> None:
    """Of 2·9·64·64/groups operations for each of 2·8·8 pixels."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, groups=groups)
    image = torch.zeros(2, 64, 8, 8, requires_grad=True)
    operations = count_operations(lambda: layer(image).sum().backward())
    assert operations == 3 * (2 * 9 * 64 * 64 // groups) * 2 * 8 * 8


def test_without_a_gpu_a_sentence_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_acceptance.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("expected a CUDA GPU of at least 8 GB")
    assert said.strip().endswith("python benchmarks/gpu_acceptance.py --dry-run")
