"""What steps and pictures ask of a GPU stays within budgets, on a runtime that computes nothing."""

import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from stub_gpu import budgets, build, child, peaks, report

MISSING = build.missing()
needs_the_stub = pytest.mark.skipif(MISSING is not None, reason=f"no stub of a GPU: {MISSING}")
VERSION, BUDGETS = budgets.read()
MEASURED_IN_HALF = "cdda/gtaHR2csHR_cdda_mic"
CASES = [c for c in budgets.cases() if c.amp is None or c.config == MEASURED_IN_HALF]
NAMES = [(case.config, case.name) for case in CASES]


def on_the_stub(code: str) -> Any:
    """Run code there, and return the value that it prints last, as JSON."""
    return json.loads(child.run(["-c", code]).splitlines()[-1])


# The runtime

COUNTED = """
import json, torch
from stub_gpu import counters
torch.backends.cudnn.benchmark = False
x, w = torch.ones(2, 3, 5, 7, device="cuda"), torch.ones(4, 3, 1, 1, device="cuda")
pinned, event = torch.ones(3).pin_memory(), torch.cuda.Event()
large = torch.ones(2**20, device="cuda")
event.record()
CALLS = {
    "kernel": lambda: x + 1,
    "view": lambda: x[1:].flatten(1),
    "product": lambda: x[0, 0] @ x[0, 0].T,
    "convolution": lambda: torch.conv2d(x, w),
    "fill": lambda: x.zero_(),
    "sum of many": lambda: large.sum(),
    "copy": lambda: x.clone(),
    "item": lambda: x[0, 0, 0, 0].item(),
    "list": lambda: x.flatten().tolist(),
    "sent": lambda: torch.ones(3).to("cuda"),
    "pinned and sent": lambda: pinned.to("cuda", non_blocking=True),
    "pinned and awaited": lambda: pinned.to("cuda"),
    "fetched": lambda: pinned.copy_(x.flatten()[:3], non_blocking=True),
    "event": lambda: event.synchronize(),
    "device": lambda: torch.cuda.synchronize(),
}
for call in CALLS.values():
    call()
found = {name: counters.count(call) for name, call in CALLS.items()}
print(json.dumps({name: {k: v for k, v in c.items() if v} for name, c in found.items()}))
"""


@pytest.mark.slow
@needs_the_stub
def test_the_runtime_counts_what_a_gpu_would_do() -> None:
    assert on_the_stub(COUNTED) == {
        "kernel": {"launches": 1},
        "view": {},
        "product": {"launches": 1},
        "convolution": {"launches": 1},
        "fill": {"launches": 1},
        "sum of many": {"launches": 1, "fills": 1},
        "copy": {"device_copies": 1},
        "item": {"waits": 1, "reads": 1},
        "list": {"waits": 1, "reads": 1, "pageable_copies": 1},
        "sent": {"waits": 1, "pageable_copies": 1, "uploaded_bytes": 12},
        "pinned and sent": {"uploaded_bytes": 12},
        "pinned and awaited": {"waits": 1, "uploaded_bytes": 12},
        "fetched": {"reads": 1},
        "event": {"waits": 1},
        "device": {"waits": 1},
    }


FULL = """
import json, torch
small = torch.empty(3 * 2**30, dtype=torch.uint8, device="cuda")
try:
    torch.empty(2 * 2**30, dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError:
    print(json.dumps(torch.cuda.max_memory_allocated() >> 20))
"""


@pytest.mark.slow
@needs_the_stub
def test_the_memory_of_the_stub_is_full_when_that_of_a_gpu_would_be() -> None:
    """3 GiB and the context's 500 MiB fit into 5 GB, 2 GiB more do not."""
    assert json.loads(child.run(["-c", FULL], memory_gb=5)) == 3 * 1024


MACHINES = {
    "another system": ((platform, "system", lambda: "Darwin"), "expected Linux on x86-64, got Dar"),
    "another processor": ((platform, "machine", lambda: "arm64"), "got Linux on arm64"),
    "torch without CUDA": ((torch.version, "cuda", None), "torch with CUDA 13, got a build with"),
    "an older CUDA": ((torch.version, "cuda", "12.8"), "expected torch with CUDA 13, got 12.8"),
    "no compiler": ((build.shutil, "which", lambda tool: None), "expected gcc on the PATH"),
    "no headers": ((build, "headers", lambda: None), "expected the headers of CUDA 13"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_missing_is_said(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for target, name, value in (
        (platform, "system", lambda: "Linux"),
        (platform, "machine", lambda: "x86_64"),
        (torch.version, "cuda", "13.0"),
        (build.shutil, "which", lambda tool: f"/usr/bin/{tool}"),
    ):
        monkeypatch.setattr(target, name, value)
    change, sentence = MACHINES[machine]
    monkeypatch.setattr(*change)
    assert sentence in str(build.missing())
    with pytest.raises(build.StubUnavailableError):
        build.ensure()


def test_headers_of_another_version_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "header_places", lambda: [tmp_path / "12", tmp_path / "13"])
    assert build.headers() is None
    for major in ("12", "13"):
        (tmp_path / major).mkdir()
        (tmp_path / major / "driver_types.h").touch()
        version = f"#define CUDART_VERSION  {major}080\n"
        (tmp_path / major / "cuda_runtime_api.h").write_text(version)
    assert build.headers() == tmp_path / "13"


# Commands

SMALL = ("demo/cdda_daformer", "--crops", "50")


@pytest.mark.slow
@needs_the_stub
def test_the_commands_say_what_they_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "found.json"
    more = ("--amp", "bf16", "--picture", "--sites", "2", "--json", str(file))
    assert report.main([*SMALL, *more]) == 0
    said, (step, picture) = capsys.readouterr().out, json.loads(file.read_text())
    assert (step["is_picture"], picture["is_picture"]) == (False, True)
    for row in (step, picture):
        assert row["fits"] and row["amp"] == "bf16"
        assert f"| {row['launches']:,} |" in said
        assert all(s["line"].startswith("models/") for s in row["sites"] if s["launches"])
    (read,) = (site for site in step["sites"] if site["reads"])  # the metric's decisions
    assert read["line"].startswith("system/device_copies.py:") and read["reads"] == 1
    assert step["uploaded_bytes"] > 2 * 2 * 3 * 128 * 128 * 4  # source and target images
    monkeypatch.setattr(peaks, "FILE", tmp_path / "peaks.json")
    peaks.main([SMALL[0]])
    entry = json.loads(peaks.FILE.read_text())["configs"][SMALL[0]]
    assert set(entry) >= {"fp32", "bf16"}
    assert all(0 < row["peak_mib"] <= row["reserved_mib"] for row in entry.values())


@pytest.mark.slow
@needs_the_stub
def test_a_step_without_room_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([*SMALL, "--memory-gb", "0.6"]) == 0
    assert "| step fp32 | does not fit into memory |" in capsys.readouterr().out


def test_writing_the_same_budgets_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = budgets.FILE.read_text(encoding="utf-8")
    monkeypatch.setattr(budgets, "version", lambda: VERSION)
    for name in ("FILE", "RESULTS"):
        monkeypatch.setattr(budgets, name, tmp_path / name)
    budgets.write(BUDGETS)
    assert budgets.FILE.read_text(encoding="utf-8") == before
    written, kept = (
        re.findall(r"^\| `.*`.*\|$", text.read_text(encoding="utf-8"), re.MULTILINE)
        for text in (budgets.RESULTS, budgets.ROOT / "benchmarks/RESULTS.md")
    )
    assert len(written) == 2 * len(BUDGETS)
    assert set(written) <= set(kept)


# Budgets


@pytest.fixture(scope="module")
def found() -> budgets.Budgets:
    if budgets.version() != VERSION:
        pytest.skip(f"the budgets are those of torch {VERSION}, this is {budgets.version()}")
    return budgets.measure_all(CASES)


@pytest.mark.slow
@needs_the_stub
@pytest.mark.parametrize(("config", "name"), NAMES)
def test_a_case_stays_within_its_budget(found: budgets.Budgets, config: str, name: str) -> None:
    assert list(budgets.exceeded(found[config][name], BUDGETS[config][name])) == []


def test_every_case_has_a_budget() -> None:
    wanted = {(case.config, case.name) for case in budgets.cases()}
    assert {(config, name) for config, rows in BUDGETS.items() for name in rows} == wanted


@pytest.mark.parametrize(("config", "name"), NAMES)
def test_a_step_waits_for_the_match_alone_and_a_picture_for_its_labels(
    config: str, name: str
) -> None:
    expected = int(name.startswith("picture") or config.startswith("cdda/"))
    assert (BUDGETS[config][name]["waits"], BUDGETS[config][name]["reads"]) == (expected, expected)


ROW = {
    **dict.fromkeys(budgets.EXACT, 1),
    **dict.fromkeys(budgets.ROUGH, 1000),
    "parts": {"metric": 50},
}


@pytest.mark.parametrize("name", [*budgets.EXACT, *budgets.ROUGH, "metric"])
def test_one_number_too_large_is_named(name: str) -> None:
    assert list(budgets.exceeded(ROW, ROW)) == []
    large = {"parts": {"metric": 51}} if name == "metric" else {name: int(ROW[name] * 1.03) + 1}
    (sentence,) = budgets.exceeded({**ROW, **large}, ROW)
    assert name in sentence
    assert list(budgets.exceeded(ROW, {**ROW, **large})) == []


def test_a_budget_that_nothing_needs_is_named() -> None:
    (sentence,) = budgets.exceeded({**ROW, "launches": 899}, ROW)
    assert "budgets.py --write" in sentence


def test_a_part_without_a_budget_is_named() -> None:
    (sentence,) = budgets.exceeded(ROW, {**ROW, "parts": {}})
    assert "at most 0 launches of the metric" in sentence


# Before a method, by what the sentence names: a launch for each class, or for each parameter.
PLANTED = """
from mmseg.engine.updates import Updates
from mmseg.models.uda.dacs import DACS
from mmseg.models.uda.depthmetric.metric import DepthMetric
from mmseg.models.uda.teacher import Teacher

def for_each_class(metric, label, *_):
    for number in range(metric.num_classes):
        label == number

def for_each_gradient(updates, *_):
    for parameter in updates.method.model.parameters():
        parameter.grad.isfinite()

def for_each_average(teacher, *_):
    for parameter in teacher.network.parameters():
        parameter.detach().mul_(0.9)

def for_each_parameter(method, *_):
    for parameter in method.model.parameters():
        parameter.detach().norm()

PLANTED = {
    "launches of the metric": (DepthMetric, "forward", for_each_class),
    "launches of the optimizers": (Updates, "after", for_each_gradient),
    "launches of the teachers": (Teacher, "update", for_each_average),
    "launches (and 3 %)": (DACS, "accumulate_gradients", for_each_parameter),
}
"""
STEPS = """
import json, torch
from unittest import mock
from stub_gpu.cases import Case
from stub_gpu.measure import measured

torch.backends.cuda.enable_cudnn_sdp(False)
CASE = Case("demo/cdda_daformer", crops=50)
found = {"nothing": next(measured([CASE]))}
for sentence, (kind, name, plant) in PLANTED.items():
    def planted(self, *arguments, original=getattr(kind, name)):
        plant(self, *arguments)
        return original(self, *arguments)
    with mock.patch.object(kind, name, planted):
        found[sentence] = next(measured([CASE]))
print(json.dumps(found))
"""


@pytest.mark.slow
@needs_the_stub
def test_a_planted_launch_per_class_or_parameter_is_caught() -> None:
    found = on_the_stub(PLANTED + STEPS)
    budget = found.pop("nothing")
    assert list(budgets.exceeded(budget, budget)) == []
    assert len(found) == 4
    for named, planted in found.items():
        assert any(named in sentence for sentence in budgets.exceeded(planted, budget)), named
