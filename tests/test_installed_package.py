"""What `pip install` leaves works without a checkout: files, console scripts, configs by name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demo_project import NUM_CROPS, ROOT, SMALLER
from installed_package import Installed
from own_pictures import draw_pictures
from PIL import Image

import mmseg
from mmseg.system import shipped

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
START = "import sys; sys.argv[0] = {!r}; from cdda_seg import main; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_every_command_has_a_console_script_and_every_script_a_command() -> None:
    body = re.search(r"^\[project\.scripts\]\n(.*?)\n\n", PYPROJECT, re.DOTALL | re.MULTILINE)
    assert body
    scripts = dict(re.findall(r'^(\S+) = "(.*)"$', body[1], re.MULTILINE))
    assert set(scripts) == set(shipped.programs())
    assert set(scripts.values()) == {"cdda_seg:main"}


def test_the_wheel_holds_the_package_and_what_a_checkout_has_beside_it(
    installed: Installed,
) -> None:
    folders = {"mmseg": "**/*.py", "configs": "**/*.py", "demo": "*.py", "tools": "**/*.py"}
    folders["docs"] = "*.md"
    files = [file for name, pattern in folders.items() for file in ROOT.glob(f"{name}/{pattern}")]
    names = {f.relative_to(ROOT).as_posix() for f in files if "generated" not in f.parts}
    names |= {"experiments.py", "run_experiments.py", "run_seg.py", "test.sh"}
    names |= {"pretrained/README.md", "pretrained/demo_mit_b0_source.pth", "configs/published.json"}
    expected = {n if n.startswith("mmseg/") else f"mmseg/shipped/{n}" for n in names}
    found = {name for name in installed.contents if ".dist-info/" not in name}
    assert found == expected | {"cdda_seg.py", "mmseg/engine/fit_peaks.json"}


def test_help_of_a_console_script_names_it_in_its_examples(installed: Installed) -> None:
    said = installed.succeed("cdda-train", "--help")
    assert said.startswith("usage: cdda-train ")
    assert "\ncdda-train configs/demo/cdda_daformer --work-dir" in said
    assert "tools/" not in said


def test_configs_are_found_by_name_from_an_empty_folder(installed: Installed) -> None:
    said = installed.succeed("cdda-print-config", "cdda/gta2cs_cdda_daformer", "--origin")
    assert re.search(r"^model.type = .* # .*shipped.configs._base_.models", said, re.MULTILINE)
    assert not list(installed.here.iterdir())


def test_workers_that_are_started_anew_find_the_functions_of_the_command(
    installed: Installed, tmp_path: Path
) -> None:
    code = "import multiprocessing as m; m.set_start_method('spawn'); "
    code += START.format("cdda-demo-data")
    out = tmp_path / "demo"
    few = ["--source-images", "1", "--target-images", "1", "--size", "64x32", "--nproc", "2"]
    installed.succeed(installed.python, "-c", code, "--out", str(out), *few)
    assert (out / "gta/images").is_dir()


@pytest.mark.slow
def test_the_whole_job_runs_in_an_empty_folder_and_leaves_the_installation_alone(
    installed: Installed,
) -> None:
    with installed.read_only():
        _do_the_whole_job(installed)


def _do_the_whole_job(installed: Installed) -> None:
    run, few = installed.succeed, ["--source-images", "8", "--target-images", "4"]
    run("cdda-demo-data", *few, "--size", "160x90")
    for name in ("gta", "synthia", "cityscapes"):
        run(f"cdda-convert-{name}", f"data/demo/{name}", "--nproc", "2")
    crops = ["--dataset_name", "gta", "--source_preprocessed_path", "preprocessed/demo_gta"]
    crops += ["--num", str(NUM_CROPS), "--num-workers", "1", "--cfg-options", *SMALLER[:3]]
    run("cdda-preprocess", "--config", "demo/cdda_daformer", *crops)
    shorter = [option for option in SMALLER if not option.startswith("load_from")]
    run("cdda-experiments", "--config", "demo/cdda_daformer", "--cfg-options", *shorter)
    (folder,) = (installed.here / "work_dirs/local-demo").iterdir()
    (child,) = installed.here.glob("configs/generated/local-demo/*.py")
    assert "_base_ = ['configs/demo/cdda_daformer.py']" in child.read_text()
    record = (folder / "repro.json").read_text()
    assert re.search(r'"path": ".*shipped.pretrained.demo_mit_b0_source.pth",\s+"bytes"', record)
    assert "mIoU" in run("cdda-test", str(child), str(folder / "latest.pth"), "--eval", "mIoU")
    if shutil.which("sh"):
        run("cdda-test-run", str(folder))
        assert len(list((folder / "preds").rglob("*.png"))) == 2
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--no-python"]
    words = ["demo/daformer", "--work-dir", "work_dirs/two", "--cfg-options", *shorter[1:]]
    run(installed.python, *torchrun, "cdda-train", *words)
    assert (installed.here / "work_dirs/two/latest.pth").is_file()


ONNX = """
import sys
import numpy as np
import onnxruntime
sys.modules.update(mmseg=None, torch=None)
from PIL import Image
image = np.asarray(Image.open("photos/91.jpg").convert("RGB"))
session = onnxruntime.InferenceSession("mine.onnx")
(scores,) = session.run(None, {"image": image.transpose(2, 0, 1)[None]})
ids = np.asarray(Image.open("labeled/ids/91.png"))
print("equal labels:", (scores[0].argmax(0) == ids).mean())
"""


@pytest.mark.slow
def test_from_two_folders_of_pictures_to_a_network_that_runs_elsewhere_and_is_shared(
    installed: Installed,
) -> None:
    """Trained, used, exported, run without this program, published, and read back."""
    pytest.importorskip("onnxruntime")
    here, run = installed.here, installed.succeed
    draw_pictures(here / "street", "KIND", 6, [0, 1], [[0, 0, 0], [200, 30, 30]])
    draw_pictures(here / "shot", "KIND", 5, [0, 1], start=90)
    (here / "shot/images").rename(here / "photos")
    with installed.read_only():
        run("cdda-new-dataset", "street", "photos", "--model", "b0", "--out", "configs/mine")
        short = ["runner.max_iters=2", "data.workers_per_gpu=1", "model.pretrained=None"]
        short += ["uda.imnet_feature_dist_lambda=0"]
        run("cdda-train", "configs/mine/daformer", "--work-dir", "run", "--cfg-options", *short)
        run("cdda-predict", "photos", "--checkpoint", "run", "--out", "labeled")
        run("cdda-export", "run", "--format", "onnx", "--out", "mine.onnx")
        said = run(installed.python, "-c", ONNX)
        assert float(said.split("equal labels: ")[1]) > 0.99
        run("cdda-publish", "run/latest.pth", "shared/mine.safetensors")
        options = ["--checkpoint", "shared/mine.safetensors", "--out", "again"]
        run("cdda-predict", "photos", *options)
    first, again = (Image.open(here / f"{name}/ids/91.png") for name in ("labeled", "again"))
    assert np.mean(np.asarray(first) == np.asarray(again)) > 0.99


@pytest.mark.slow
def test_an_editable_install_runs_the_checkout(tmp_path: Path) -> None:
    editable = Installed(tmp_path, is_editable=True)
    said = editable.succeed("cdda-print-config", "demo/daformer", "--origin")
    assert str(editable.source / "configs/demo/daformer.py") in said
    assert not (editable.source / "mmseg/shipped").exists()


# Beside another program whose package is called mmseg, without its and our libraries.


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the beginning of this program."""
    folder = tmp_path / "site"
    (folder / "mmseg/system").mkdir(parents=True)
    for name in ("cdda_seg.py", "mmseg/__init__.py"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("__init__", "shared_folder"):
        shutil.copyfile(ROOT / f"mmseg/system/{name}.py", folder / f"mmseg/system/{name}.py")
    return folder


def import_from(code: str, *folders: Path) -> str:
    """Run code with these folders in front of all others; return what it says on stderr."""
    places = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]}; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", places + code], capture_output=True, text=True
    )
    return done.stderr


def record(site: Path, files: str, name: str = "mmsegmentation-1.2.2") -> None:
    (site / f"{name}.dist-info").mkdir()
    (site / f"{name}.dist-info/RECORD").write_text(files)


@pytest.mark.parametrize("name", ["mmsegmentation-1.2.2", "onedl_mmsegmentation-1.3.0"])
@pytest.mark.parametrize("code", ["import mmseg", START.format("cdda-train")])
def test_files_of_another_program_in_the_package_are_explained(
    code: str, name: str, site: Path
) -> None:
    record(site, "bin/x,,\nmmseg/__init__.py,sha256=,1\n", name)
    said = import_from(code, site)
    assert f"got some of {name}, too" in said
    assert said.count("Traceback") == (code == "import mmseg")


def test_another_program_in_a_folder_of_its_own_is_not_mentioned(site: Path) -> None:
    record(site, "__editable__.mmsegmentation-1.2.2.pth,,\n")
    other = site.parent / "other/mmseg"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    assert import_from("import mmseg; print(mmseg.__version__)", site, other.parent) == ""


@pytest.mark.parametrize("remains", ["another package", "a folder without __init__.py", "nothing"])
def test_a_console_script_says_that_the_package_is_not_its_own(remains: str, site: Path) -> None:
    file = site / "mmseg/__init__.py"
    if remains == "nothing":
        shutil.rmtree(file.parent)
    elif remains == "another package":
        file.write_text("import mmcv\n")
    else:
        file.unlink()
    said = import_from(START.format("cdda-train"), site)
    expected = repr(str(file)) if remains == "another package" else "none that is whole"
    assert said.startswith("ImportError: expected the package mmseg of cdda-seg, got " + expected)
    assert said.count("\n") == 1


def test_the_look_at_other_programs_reads_no_list_of_all_distributions() -> None:
    code = "import sys, mmseg; sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT).returncode == 0
    assert mmseg.__version__
