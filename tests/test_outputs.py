"""What a command writes replaces neither what it reads nor what it did not make."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import models_cfg
import numpy as np
import pytest
import tiny_run
import torch
from golden_init import init_module
from made_runs import write_run
from PIL import Image

from mmseg.apis.prediction_files import PredictionFiles, check_written
from mmseg.apis.run_folder import choose_start
from mmseg.config import load_config
from mmseg.datasets.custom import CustomDataset
from mmseg.models import build_segmentor
from mmseg.system.errors import ConfigError
from mmseg.system.outputs import is_pickle

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import run_experiments  # noqa: E402
import run_seg  # noqa: E402
from tools import (  # noqa: E402
    analyze_logs,
    check_data,
    compare_runs,
    contact_sheet,
    doctor,
    export,
    export_submission,
    get_param_count,
    make_demo_data,
    new_dataset,
    plot_curves,
    predict,
    publish_checkpoint,
    reproduce,
)
from tools import test as test_tool  # noqa: E402
from tools import train as train_tool  # noqa: E402

IMAGES, LABELS = "target/leftImg8bit/val", "target/gtFine/val"
IMAGE = f"{IMAGES}/town/town_000000_000019_leftImg8bit.png"
LABEL = f"{LABELS}/town/town_000000_000019_gtFine_labelTrainIds.png"
RUN = "260102_0304_a_s0_00000"
FORMAT = ["--format-only", "--eval-options"]
TEST = ["tiny.py", "model.pkl"]
SERVER = ["cityscapes", "--split", "val", "--data-root", "target", "--out", "OUT"]
SEG = ["--config", "tiny.py", "--cfg-options", "data.train.source.dep_dir=source/depth"]
Command = tuple[Callable[[list[str]], int], list[str]]
# An output option of a command, with OUT in the place of what is written, and the inputs.
OUTPUTS: dict[str, tuple[Command, list[str]]] = {
    "test --show-dir": (
        (test_tool.main, [*TEST, "--show-dir", "OUT"]),
        [IMAGES, f"{IMAGES}/town", f"{IMAGES}/new", LABELS, "source/images"],
    ),
    "test --format-only": (
        (test_tool.main, [*TEST, *FORMAT, "imgfile_prefix=OUT"]),
        [IMAGES, f"{IMAGES}/town", f"{IMAGES}/new", LABELS, "source/labels"],
    ),
    "test --work-dir": ((test_tool.main, [*TEST, "--work-dir", "OUT"]), [IMAGES, LABELS]),
    "test --out": ((test_tool.main, [*TEST, "--out", "OUT"]), ["model.pkl"]),
    "train --work-dir": (
        (train_tool.main, ["tiny.py", "--work-dir", "OUT"]),
        [IMAGES, f"{IMAGES}/town", f"{IMAGES}/new", LABELS, "source/images", "source/labels"],
    ),
    "run_experiments": (
        (run_experiments.main, ["--config", "tiny.py", "--cfg-options", "work_dir=OUT"]),
        [IMAGES, LABELS, "source/images"],
    ),
    "run_seg --source_preprocessed_path": (
        (run_seg.main, [*SEG, "--num", "5", "--source_preprocessed_path", "OUT"]),
        ["source", IMAGES, LABELS],
    ),
    "make_demo_data --out": ((make_demo_data.main, ["--out", "OUT"]), ["data"]),
    "new_dataset --out": (
        (new_dataset.main, ["source", "target", "--out", "OUT"]),
        ["source/images", "source/labels", f"{IMAGES}/new", LABELS],
    ),
    "publish": ((publish_checkpoint.main, ["model.pkl", "OUT"]), ["model.pkl"]),
    "export": (
        (export.main, ["model.pkl", "--config", "tiny.py", "--format", "onnx", "--out", "OUT"]),
        ["model.pkl", "tiny.py", "notes.txt", IMAGE],
    ),
    "check_data --json": (
        (check_data.main, ["tiny.py", "--json", "OUT"]),
        ["tiny.py", "model.pkl", "notes.txt", f"{IMAGES}/new", IMAGE, LABEL],
    ),
    "check_data --picture": (
        (check_data.main, ["tiny.py", "--picture", "OUT"]),
        ["tiny.py", "notes.txt", f"{IMAGES}/new.png", IMAGE, LABEL],
    ),
    "export_submission --checkpoint": (
        (export_submission.main, [*SERVER, "--checkpoint", "model.pkl", "--config", "tiny.py"]),
        ["tiny.py", "model.pkl", "notes.txt", "data.zip", f"{IMAGES}/new", IMAGE],
    ),
    "export_submission --predictions": (
        (export_submission.main, [*SERVER, "--predictions", "preds"]),
        ["notes.txt", "data.zip", f"{IMAGES}/new", IMAGE, "preds/new", "preds/town/one.png"],
    ),
    "doctor --json": (
        (doctor.main, ["tiny.py", "--json", "OUT"]),
        ["tiny.py", "model.pkl", "notes.txt", f"{IMAGES}/new", IMAGE, LABEL],
    ),
    "get_param_count --json": (
        (get_param_count.main, ["tiny.py", "--json", "OUT"]),
        ["tiny.py", "model.pkl", "notes.txt"],
    ),
    "analyze_logs --json": (
        (analyze_logs.main, ["logged", "--json", "OUT"]),
        ["logged/1.log.json", "tiny.py", "notes.txt"],
    ),
    "predict --out": (
        (predict.main, [IMAGES, "--checkpoint", "model.pkl", "--labels", LABELS, "--out", "OUT"]),
        [IMAGES, f"{IMAGES}/new", LABELS, f"{LABELS}/new"],
    ),
    "contact_sheet --out": (
        (contact_sheet.main, ["tiny.py", "--preds", "p=preds", "--out", "OUT"]),
        ["tiny.py", "model.pkl", "notes.txt", IMAGE, LABEL, "preds/town/one.png"],
    ),
    "compare_runs --out": (
        (compare_runs.main, ["runs", "--out", "OUT"]),
        [f"runs/{RUN}", f"runs/{RUN}/new", IMAGES, f"{IMAGES}/new", LABELS, "mine"],
    ),
    "reproduce --out": (
        (reproduce.main, ["tiny.py", "--out", "OUT"]),
        [IMAGES, f"{IMAGES}/new", LABELS, "source/labels", "mine"],
    ),
}
WAYS = ("itself", "symbolic link", "hard link")
CASES = [
    pytest.param(command, given, way, id=f"{name} {given} {way}")
    for name, (command, inputs) in OUTPUTS.items()
    for given in inputs
    for way in WAYS
    # No folder has a hard link; and a picture that has one keeps its own name.
    if way != "hard link" or Path(given).suffix not in ("", ".png")
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a config, and a checkpoint that has the suffix of a file of labels."""
    root = tmp_path_factory.mktemp("material")
    tiny_run.write_pictures(root)
    model = models_cfg.daformer("mit_b0", channels=16, embed=16)
    tiny_run.write_config(root / "tiny.py", tiny_run.config(Path(), model=model))
    torch.save({"state_dict": init_module(build_segmentor(model)).state_dict()}, root / "model.pkl")
    (root / "notes.txt").write_text("mine")
    (root / "logged").mkdir()
    (root / "logged/1.log.json").write_text('{"mode": "train", "iter": 1}')
    write_run(root / "runs", "a", 0, {8: 0.5}, Path())
    (root / "mine").mkdir()
    (root / "mine/curves.png").write_text("mine")
    shutil.copytree(root / "source", root / "data/gta")
    shutil.make_archive(str(root / "data"), "zip", root / IMAGES)
    (root / "preds/town").mkdir(parents=True)
    for image in (root / IMAGES).rglob("*.png"):
        shutil.copy(image, root / "preds/town" / image.name)
    (root / "preds/town/one.png").symlink_to(Path(IMAGE).name)
    return root


@pytest.fixture
def project(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(material, root, symlinks=True, copy_function=shutil.copyfile)
    monkeypatch.chdir(root)
    return root


def contents(root: Path) -> dict[Path, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refused(command: Command, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that a command ends with a sentence before it loads a network."""
    main, words = command
    monkeypatch.setattr("mmseg.apis.test.init_segmentor", None)
    monkeypatch.setattr("mmseg.engine.checkpoint.read_checkpoint", None)
    before = contents(Path.cwd())
    sentence = r"^ConfigError: expected .*, got .* Choose another \w+\.$"
    with pytest.raises(SystemExit, match=sentence):
        main([word.replace("OUT", out) for word in words])
    assert contents(Path.cwd()).items() >= before.items()


@pytest.mark.parametrize(("command", "given", "way"), CASES)
def test_no_output_replaces_an_input(
    command: Command, given: str, way: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = project / (given if way == "itself" else f"link{Path(given).suffix}")
    if way == "symbolic link":
        out.symlink_to(project / given)
    elif way == "hard link":
        out.hardlink_to(project / given)
    refused(command, str(out), monkeypatch)


def test_a_folder_of_pictures_may_hold_a_link_into_the_dataset(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "preds2").mkdir()
    (project / "preds2/town").symlink_to(project / IMAGES / "town")
    refused(OUTPUTS["test --show-dir"][0], "preds2", monkeypatch)


def test_a_picture_may_be_a_second_name_of_an_image(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "preds2/town").mkdir(parents=True)
    (project / "preds2/town" / Path(IMAGE).name).hardlink_to(IMAGE)
    refused(OUTPUTS["test --show-dir"][0], "preds2", monkeypatch)


def test_a_file_of_labels_replaces_only_its_like(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("notes.txt", "out.pkl")
    refused(OUTPUTS["test --out"][0], "out.pkl", monkeypatch)
    torch.save({}, "out.pkl")
    refused(OUTPUTS["test --out"][0], "out.pkl", monkeypatch)


def test_what_a_command_made_is_made_again(project: Path) -> None:
    for _ in range(2):
        options = ["--show-dir", "own", "--opacity", "1", "--out", "out.pkl"]
        options += [*FORMAT, "imgfile_prefix=server"]
        test_tool.main([*TEST, *options])
        contact_sheet.main(["tiny.py", "--preds", "p=own", "--out", "sheet.png"])
        publish_checkpoint.main(["model.pkl", "small.pth"])
        words = [*SERVER[:-1], "server.zip", "--predictions", "server", "--ids", "label"]
        export_submission.main(words)
    assert is_pickle(project / "out.pkl")
    assert len(list((project / "server").glob("*.png"))) == 3
    assert len(list((project / "own/town").glob("*.png"))) == 3


def test_results_do_not_replace_a_config_of_their_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_config("tiny.py").dump("results.json")
    words = ["results.json", "model.pkl", "--work-dir", ".", "--eval", "mIoU"]
    refused((test_tool.main, words), "", monkeypatch)


def test_pictures_and_server_files_need_two_folders(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project / IMAGES / "town", project / "flat")
    dataset = own_images(project / "flat", ".png")
    check_written(dataset, [], "a", "b")
    with pytest.raises(ConfigError, match=r"^expected other files .* for both\. Choose two folde"):
        check_written(dataset, [], "a", "./a")


def test_curves_replace_a_picture_only(project: Path) -> None:
    (project / "log").mkdir()
    shutil.copy("notes.txt", "log/curves.png")
    with pytest.raises(SystemExit, match="'log/curves.png', which holds something else"):
        plot_curves.main(["log"])


def own_images(folder: Path, suffix: str) -> CustomDataset:
    return CustomDataset([], str(folder), img_suffix=suffix, test_mode=True)


@pytest.mark.parametrize(
    ("names", "painted", "served"),
    [
        (["a/1.png", "b/2.png"], ["a/1.png", "b/2.png"], ["1.png", "2.png"]),
        (["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
        (["1.x_c.png", "1.y_c.png"], ["1.x_c.png", "1.y_c.png"], ["1.x_c.png", "1.y_c.png"]),
        (["1.l", "1.r"], ["1.l.png", "1.r.png"], ["1.l.png", "1.r.png"]),
    ],
)
def test_every_image_has_files_of_its_own(
    names: list[str], painted: list[str], served: list[str], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / "images" / name, format="PNG")
    suffix = ".png" if names[0].endswith(".png") else ""
    dataset = own_images(tmp_path / "images", suffix)
    formats = {"imgfile_prefix": str(tmp_path / "server")}
    files = PredictionFiles(dataset, str(tmp_path / "preds"), 1.0, formats=formats)
    for index in range(len(dataset)):
        files.take(index, np.full((3, 4), index, np.uint8))
    for folder, expected in (("preds", painted), ("server", served)):
        found = (tmp_path / folder).rglob("*.png")
        assert sorted(f.relative_to(tmp_path / folder).as_posix() for f in found) == expected


def begun(file: str | Path, work_dir: Path, resume: str | None = None, max_iters: int = 2) -> Path:
    cfg = load_config(file)
    cfg.merge_options({"work_dir": str(work_dir), "runner.max_iters": max_iters})
    return choose_start(cfg, resume)


@pytest.mark.parametrize("is_written_by_hand", [True, False])
def test_a_run_in_the_folder_of_its_config_keeps_both(
    is_written_by_hand: bool, project: Path
) -> None:
    if is_written_by_hand:
        with Path("tiny.py").open("a") as file:
            file.write("# mine\n")
    before = Path("tiny.py").read_text()
    for max_iters in (1, 3):  # the second start replaces what the first one kept
        kept = begun("tiny.py", Path(), max_iters=max_iters)
        assert kept == Path("tiny_resolved.py")
        assert load_config(kept).runner.max_iters == max_iters
    assert Path("tiny.py").read_text() == before
    assert begun(kept, Path(), "auto") == kept


def test_another_file_of_the_config_s_name_is_kept(project: Path) -> None:
    (project / "run").mkdir()
    (project / "run/tiny.py").write_text("raise SystemExit('executed')\n")
    (project / "run/tiny_resolved.py").symlink_to("nowhere.py")
    assert begun("tiny.py", Path("run")) == Path("run/tiny_resolved_2.py")
    assert "executed" in (project / "run/tiny.py").read_text()


def test_a_run_continues_from_the_config_that_it_kept(project: Path) -> None:
    kept = begun("tiny.py", Path("run"))
    assert kept == Path("run/tiny.py")
    assert begun(kept, Path("run"), "auto", max_iters=7) == kept
    assert load_config(kept).runner.max_iters == 7
    assert begun("tiny.py", Path("run"), "auto") == kept
    assert [file.name for file in Path("run").iterdir()] == ["tiny.py"]
