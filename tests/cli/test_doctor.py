"""What `tools/doctor.py` says of a machine and a config: each lack is planted here."""

import json
import re
import shlex
import shutil
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planted_faults
import pytest
import torch
from demo_project import ROOT, run
from planted_faults import BANK, CITYSCAPES, DEPTH, GTA, LABEL, SOURCE, TARGET, configure
from script_parsers import parser_of

from mmseg.apis.doctor import as_text, examine, gpus
from mmseg.apis.doctor.gpus import Gpu
from mmseg.apis.doctor.items import BROKEN, MISSING, OK, WARNING, Item
from mmseg.apis.doctor.needs import PIXEL_BYTES, reported_memory
from mmseg.config import load_config
from mmseg.datasets import build_dataset
from mmseg.system import machine
from tools import doctor

CONFIG = "configs/mine"
CROPS = f"python run_seg.py --config {CONFIG}"
CONVERT = f"python tools/convert_datasets/gta.py {GTA} --nproc 8"
DRAW = "python tools/make_demo_data.py --out data/demo"
FETCH = f"python tools/fetch_weights.py {CONFIG}"
MAPS = "python tools/make_depth.py data/demo/"
GTA_MAPS = f"{MAPS}gta/images --out {GTA}/depth_any --layout gta --model"
STATISTICS = Path(GTA, "sample_class_stats.json")
Fault = tuple[Callable[[], object], str, str, str, str | None]


def weights(name: str) -> Callable[[], object]:
    return lambda: configure(f"\nmodel = dict(pretrained='{name}')")


def damaged() -> None:
    weights("cut.pth")()
    torch.save(torch.zeros(99), "cut.pth")
    Path("cut.pth").write_bytes(Path("cut.pth").read_bytes()[:-40])


def another_file() -> None:
    weights("torchvision://resnet18")()
    Path("pretrained").mkdir(exist_ok=True)
    torch.save({}, "pretrained/resnet18-f37072fd.pth")


def of_other_crops() -> None:
    torch.save(torch.load(BANK).flip(2).roll(1, 1), BANK)


def gone(path: str) -> Callable[[], object]:
    return lambda: shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()


# What is planted: the mark and the name of its line, words of it, and the command that helps.
FAULTS: dict[str, Fault] = {
    "no config": (gone("configs/mine.py"), BROKEN, "config", "No config file at", None),
    "wrong key": (
        lambda: configure("\nrunner = dict(max_itres=3)"),
        BROKEN,
        "config",
        "itres",
        None,
    ),
    "contradiction": (
        lambda: configure("\nmodel = dict(decode_head=dict(num_classes=5))"),
        *(BROKEN, "config", "num_classes: expected 19", None),
    ),
    "network": (
        lambda: configure("\nmodel = dict(test_cfg=dict(mode='slide'))"),
        *(BROKEN, "config", "expected test_cfg.crop_size", None),
    ),
    "source": (gone(GTA), MISSING, f"{SOURCE}.img_dir", f"folder at '{GTA}'", DRAW),
    "images": (gone(f"{GTA}/images"), MISSING, f"{SOURCE}.img_dir", "no such folder", DRAW),
    "labels": (gone(f"{GTA}/labels"), MISSING, f"{SOURCE}.ann_dir", "no such folder", DRAW),
    "target": (gone(CITYSCAPES), MISSING, f"{TARGET}.img_dir", f"'{CITYSCAPES}'", DRAW),
    "validation": (gone(f"{CITYSCAPES}/gtFine/val"), MISSING, "data.val.ann_dir", "such", DRAW),
    "one label": (gone(LABEL), MISSING, SOURCE, "got none for 1 of 4", CONVERT),
    "one label to measure": (
        lambda: next(Path(f"{CITYSCAPES}/gtFine/val").rglob("*TrainIds.png")).unlink(),
        *(MISSING, "data.val", "got none for 1 of ", "python tools/convert_datasets/citys"),
    ),
    "maps": (gone(f"{GTA}/depth_any"), MISSING, f"{SOURCE}.dep_dir", "no such folder", GTA_MAPS),
    "maps of the target": (
        gone(f"{CITYSCAPES}/depth_any/train"),
        *(MISSING, f"{TARGET}.dep_dir", "no such", f"{MAPS}cityscapes/leftImg8bit/train --out "),
    ),
    "one map": (gone(DEPTH), MISSING, SOURCE, "a depth map for every image", GTA_MAPS),
    "one list": (gone(str(STATISTICS)), MISSING, f"{SOURCE}.rare_class_sampling", "no su", CONVERT),
    "old list": (lambda: STATISTICS.write_text("[]"), BROKEN, SOURCE, "an empty list", CONVERT),
    "nothing counted": (
        planted_faults.uncount,
        *(OK, "data.train.rare_class_sampling", "the first start counts", CONVERT),
    ),
    "bank": (gone(BANK), MISSING, "uda.matrix_path", "no such file", CROPS),
    "crops": (gone("made/images"), MISSING, "uda.croped_images_path", "no such folder", CROPS),
    "one crop": (gone("made/labels/1.png"), BROKEN, "uda.matrix_path", "'1.png'", CROPS),
    "other crops": (of_other_crops, BROKEN, "uda.matrix_path", "those of others", CROPS),
    "no bank": (
        lambda: Path(BANK).write_text("x"),
        *(BROKEN, "uda.matrix_path", "a file that cannot be read", CROPS),
    ),
    "weights": (weights("none.pth"), MISSING, "model.pretrained", "file at 'none.pth'", FETCH),
    "start": (
        lambda: configure("\nload_from = 'none.pth'"),
        *(MISSING, "load_from", "file at 'none.pth'", FETCH),
    ),
    "cut weights": (damaged, BROKEN, "model.pretrained", "cut off or damaged", FETCH),
    "other weights": (another_file, BROKEN, "model.pretrained", "SHA-256", FETCH),
}
GPU = Gpu("H200", 140_000_000_000, 139_000_000_000, (9, 0), True)
OLD = Gpu("RTX 2080 Ti", 11_000_000_000, 10_900_000_000, (7, 5), True)
BUSY = Gpu("RTX 3090", 24_000_000_000, 3_000_000_000, (8, 6), True)
UNKNOWN = Gpu("Tesla K80", 12_000_000_000, 12_000_000_000, (3, 7), False)
MIC = "configs/mic/gtaHR2csHR_mic_hrda"
PLENTY = {
    **dict.fromkeys(("installed_memory", "available_memory", "free_shared_memory"), 10**12),
    **{"memory_limit": None, "open_files": 65536, "driver_version": None},
    **{"cpu_model": "Drawn CPU", "usable_cores": 7},
}
# Functions of the machine and what they return; then a config, and what is said.
MACHINES: dict[str, tuple[dict[str, Any], str | None, str, str, str]] = {
    "limit": ({"memory_limit": 8e9}, None, OK, "memory", "may use 8.0 GB"),
    "no memory told": ({"installed_memory": None}, None, OK, "memory", "not known"),
    "disk": ({"free_disk": 10**6}, MIC, WARNING, "disk", "the checkpoints of the run take about"),
    "shared memory": (
        {"free_shared_memory": 64 * 2**20},
        *(MIC, WARNING, "shared memory", "67.1 MB free .* --shm-size=8g"),
    ),
    "files": ({"open_files": 256}, None, WARNING, "open files", "256 .* ulimit -n 65536"),
    "no limit": ({"open_files": -1}, None, OK, "open files", "no limit"),
    "no GPU": ({}, None, OK, "GPU", "none; everything runs on the CPU"),
    "driver": ({"driver_version": "525.60"}, None, WARNING, "GPU", "525.60.* update the driver"),
    "GPU": ({"find_gpus": ([GPU], "")}, MIC, OK, "GPU 0", "H200, 140.0 GB.* 9.0, bfloat16, dri"),
    "kernels": ({"find_gpus": ([GPU, UNKNOWN], "")}, None, BROKEN, "GPU 1", "does not run on it"),
    "busy": (
        {"find_gpus": ([BUSY], "")},
        None,
        WARNING,
        "GPU 0",
        "3.0 GB of them free.*nvidia",
    ),
    "small": ({"find_gpus": ([OLD], "")}, MIC, WARNING, "GPU memory", "about 29 GB, as people rep"),
    "large": ({"find_gpus": ([OLD, GPU], "")}, MIC, OK, "GPU memory", "not measured with this one"),
    "unmeasured": ({}, "configs/demo/daformer", OK, "GPU memory", "not known for this config"),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = planted_faults.write_project(tmp_path_factory.mktemp("original"))
    (root / "pretrained").mkdir()
    shutil.copy(ROOT / "pretrained/demo_mit_b0_source.pth", root / "pretrained")
    return root


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to spoil, which is the current directory."""
    root = Path(shutil.copytree(original, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(root)
    return root


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU that lacks nothing, whatever this one is."""
    for name, value in {**PLENTY, "free_disk": 10**12, "find_gpus": ([], "")}.items():
        substitute(monkeypatch, name, value)


def substitute(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    for module in (machine, gpus):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda *_: value)


def line(items: tuple[Item, ...], mark: str, name: str) -> Item:
    (found,) = (item for item in items if (item.mark, item.name) == (mark, name))
    return found


def test_a_config_with_everything_lacks_nothing(project: Path, capsys: Any) -> None:
    assert doctor.main([CONFIG, "--json", "out.json"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("\n\nAll there.\n")
    report = json.loads(Path("out.json").read_text())
    assert {item["mark"] for item in report["items"]} == {OK}
    assert not any(item["command"] for item in report["items"])
    for words in ("4 images in", "their labels", "depth maps in", "load_from: 'pretrained/demo"):
        assert words in said
    assert doctor.main([CONFIG, "--json", "out.json"]) == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_there_is_named_with_the_command_that_brings_it(
    fault: str, project: Path
) -> None:
    plant, mark, name, words, command = FAULTS[fault]
    plant()
    found = examine(CONFIG)
    item = line(found.items, mark, name)
    assert words in item.text
    assert (item.command or "").startswith(command or "") and bool(item.command) == bool(command)
    assert found.status == int(mark != OK)
    assert f"{mark:<8} {name}: " in as_text(found)
    assert item.command is None or is_understood(item.command)


def is_understood(command: str) -> bool:
    """Tell whether a command is one that its script understands, by its own parser."""
    python, script, *words = shlex.split(command)
    assert python == "python"
    return not (ROOT / script).exists() or bool(parser_of(script).parse_args(words))


@pytest.mark.parametrize("case", MACHINES)
def test_what_a_machine_has_is_said(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts, config, mark, name, words = MACHINES[case]
    monkeypatch.chdir(ROOT)
    for function, value in facts.items():
        substitute(monkeypatch, function, value)
    assert re.search(words, line(examine(config).items, mark, name).text)


def test_half_precision_needs_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    substitute(monkeypatch, "find_gpus", ([OLD], ""))
    found = examine("configs/demo/daformer", {"amp": {"dtype": "bfloat16"}})
    assert "Set amp.dtype='float16'" in line(found.items, BROKEN, "GPU 0").text


def test_an_encoding_without_letters_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert "PYTHONUTF8=1" in line(examine().items, WARNING, "encoding").text


def test_gpus_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of `plenty`

    def old_driver() -> bool:
        warnings.warn("The NVIDIA driver is too old (Triggered internally at x)", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", old_driver)
    assert gpus.find_gpus() == ([], "The NVIDIA driver is too old")
    facts = types.SimpleNamespace(name="H200", major=9, minor=0)
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_device_properties": facts,
        "mem_get_info": (GPU.free, GPU.memory),
        "get_arch_list": ["sm_75", "sm_90"],
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    assert gpus.find_gpus() == ([GPU], "")


@pytest.mark.parametrize(
    ("own", "files", "limit", "quota"),
    [
        ("0::/a/b", {"a/memory.max": "5000", "a/b/memory.max": "max"}, 5000, None),
        ("0::/", {"memory.max": "7", "cpu.max": "150000 100000"}, 7, 1.5),
        ("0::/", {"memory.max": "max", "cpu.max": "max 100000"}, None, None),
        ("4:memory:/x", {"memory/memory.limit_in_bytes": "9"}, 9, None),
        (
            "2:cpu,cpuacct:/\n3:pids:/",
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
            *(None, 3.0),
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1000"}, None, None),
        ("", {}, None, None),
    ],
)
def test_limits_are_those_of_the_control_groups(
    own: str,
    files: dict[str, str],
    limit: int | None,
    quota: float | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # of `plenty`
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(machine, "GROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_GROUP", tmp_path / "own")
    assert (machine.memory_limit(), machine.cpu_quota()) == (limit, quota)
    assert machine.usable_cores() >= 1


def test_samples_take_at_most_what_is_reserved_for_them(project: Path) -> None:
    sample = build_dataset(load_config(CONFIG).data.train)[0]
    tensors = [value for value in sample.values() if isinstance(value, torch.Tensor)]
    height, width = sample["img"].shape[1:]
    taken = sum(tensor.nbytes for tensor in tensors) / (height * width)
    assert 0.75 * PIXEL_BYTES < taken <= PIXEL_BYTES


def test_reported_numbers_are_those_of_the_page() -> None:
    page = (ROOT / "docs/model_zoo.md").read_text(encoding="utf-8")
    for method in (
        "daformer/synthia2cs_daformer",
        "hrda/gtaHR2csHR_hrda",
        "mic/gtaHR2csHR_mic_hrda",
    ):
        found = reported_memory(ROOT / f"configs/{method}.py")
        assert found and f"{found[0]} GB)" in page
    assert reported_memory(ROOT / "configs/cdda/gta2cs_cdda_daformer.py") is None
    assert reported_memory(Path("elsewhere.py")) is None


def test_the_home_folder_has_no_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    monkeypatch.setenv("USERPROFILE", str(project))
    Path(DEPTH).unlink()
    report = run(project, f"python tools/doctor.py {project}/{CONFIG} --json out.json")
    written = Path("out.json").read_text()
    assert report.status == 1
    assert f"~/{CONFIG} can be trained" in report.text
    assert f"~/{CONFIG}" in written
    assert str(project) not in report.text + written


def test_the_command_does_what_its_help_shows(project: Path) -> None:
    """The crops of the demo are elsewhere."""
    command = "python tools/doctor.py configs/demo/cdda_daformer --json doctor.json"
    done = run(project, command)
    assert done.status == 1
    assert "Make it with: python run_seg.py --config configs/demo/cdda_daformer\n" in done.text
    assert done.text.endswith("3 missing or broken, 0 warnings.\n")
    report = json.loads(Path("doctor.json").read_text())
    assert report["status"] == 1
    assert report["config"] == "configs/demo/cdda_daformer"


def test_changed_values_stand_in_the_commands(project: Path) -> None:
    found = examine(CONFIG, {"uda.matrix_path": "made/gta_9_distribution.pth"})
    command = line(found.items, MISSING, "uda.matrix_path").command
    assert command == f"{CROPS} --cfg-options uda.matrix_path=made/gta_9_distribution.pth"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--cfg-options seed=1", 2),
        ("--unknown", 2),
        (f"{CONFIG} --json configs/mine.py", "apart from what the command reads"),
        (f"{CONFIG} --json {GTA}/images/x.json", "apart from what the command reads"),
        ("--json notes.txt", "'notes.txt', which holds something else"),
    ],
)
def test_wrong_input_ends_in_a_sentence(words: str, status: object, project: Path) -> None:
    Path("notes.txt").write_text("mine")
    done = run(project, f"python tools/doctor.py {words}")
    assert done.status == status if isinstance(status, int) else str(status) in str(done.status)
    assert "Traceback" not in done.text
