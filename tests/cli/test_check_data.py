"""Every fault of the data that `tools/check_data.py` knows is found; clean data pass."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from planted_faults import (
    FAULTS,
    GTA,
    HEIGHT,
    LABEL,
    SOURCE,
    WIDTH,
    all_of,
    change,
    configure,
    forget_class,
    put,
    write_project,
)

from mmseg.apis.data_check import KINDS
from mmseg.config.registry import DATASETS
from mmseg.datasets import GTADataset
from mmseg.datasets.image_files import read_label
from mmseg.datasets.labels import CLASSES
from tools import check_data

SAMPLE = 128  # rows and columns of a training sample


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to spoil, which is the current directory."""
    root = Path(shutil.copytree(original, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(root)
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    return root


def check(*words: str, config: str = "configs/mine") -> dict[str, Any]:
    """Return what the command reports; its exit status is the one that it reports."""
    status = check_data.main([config, "--workers=0", "--json=check.json", *words])
    report = json.loads(Path("check.json").read_text())
    assert status == report["status"]
    return report


def test_every_kind_of_finding_is_planted() -> None:
    assert list(dict.fromkeys(kind for kind, *_ in FAULTS)) == list(KINDS)


@pytest.mark.parametrize(("kind", "plant", "where", "named"), FAULTS)
def test_fault_is_found_and_named(
    kind: str, plant: Callable[[], object], where: str, named: str, project: Path, capsys: Any
) -> None:
    plant()
    report = check()
    found = {(one["kind"], one["where"]): one for one in report["findings"]}
    finding = found[kind, where]
    assert any(named in text for text in (*finding["files"], finding["sentence"]))
    assert report["status"] == int("error" in {one["level"] for one in report["findings"]})
    said = capsys.readouterr().out
    assert f"{KINDS[kind]}: {where}: {kind}" in said and finding["sentence"] in said


def zipped(folder: str) -> None:
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    with zipfile.ZipFile(f"{folder}.zip", "w") as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))


IN_ARCHIVE = f"\ndata['train']['source'] = dict(data_root='{GTA}.zip!')"
LISTED = """
from mmseg.config import inference_steps
_part = dict(
    type="CityscapesDataset", data_root="data/demo/cityscapes", img_dir="leftImg8bit/val",
    ann_dir="gtFine/val", pipeline=inference_steps((320, 160), dict(mean=[0.0] * 3, std=[1.0] * 3)),
)
data.update(val=[_part, dict(_part, name="again")])
"""
SOURCES = """
from mmseg.config import load_config
_part = load_config("configs/demo/daformer").data.train.source
data["train"].update(
    source=[dict(_part, name=name, dep_dir="data/demo/gta/depth_any") for name in ("one", "two")]
)
"""
CLEAN = {
    "folders": "",
    "no labels of the target": "\ndata['train']['target'] = dict(ann_dir=None)",
    "archives": IN_ARCHIVE,
    "no validation": "\ndata.update(val=None, test=None)",
    "several for validation": LISTED,
    "several sources": SOURCES,
}


@pytest.mark.parametrize("way", CLEAN)
def test_clean_data_give_no_finding(way: str, project: Path, capsys: Any) -> None:
    zipped(GTA)
    configure(CLEAN[way])
    report = check()
    assert report["findings"] == []
    assert report["errors"] == report["warnings"] == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")
    assert not list(Path("data").rglob("class_counts*"))


def test_class_that_a_dataset_never_labels_is_no_finding(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_class()
    monkeypatch.setattr(GTADataset, "UNLABELED_CLASSES", (16,))
    assert check()["findings"] == []


def test_report_says_what_is_there(project: Path) -> None:
    source, target, val = check()["datasets"]
    shown = {key: source[key] for key in ("where", "type", "folder", "images", "sizes", "labels")}
    assert shown == {
        "where": SOURCE,
        "type": "GTADataset",
        "folder": f"{GTA}/images",
        "images": 4,
        "sizes": {f"{WIDTH}x{HEIGHT}": 4},
        "labels": 4,
    }
    assert [one["name"] for one in source["classes"]] == list(CLASSES)
    assert sum(one["share"] for one in source["classes"]) == pytest.approx(1)
    road, pixels = source["classes"][0], sum(one["pixels"] for one in source["classes"])
    labels = [read_label(path) for path in Path(GTA, "labels").glob("*_labelTrainIds.png")]
    assert road["pixels"] == sum(int((label == 0).sum()) for label in labels)
    assert source["ignored"] == pytest.approx(1 - pixels / (4 * WIDTH * HEIGHT))
    assert (target["reads_labels"], target["depth_maps"], val["reads_depth"]) == (False, 4, False)
    assert "classes" not in target


def test_fault_in_an_archive_is_named(project: Path) -> None:
    change(LABEL, put(26))
    zipped(GTA)
    configure(IN_ARCHIVE)
    (finding,) = check()["findings"]
    assert finding["kind"] == "id-out-of-range"
    assert finding["files"] == [f"{GTA}.zip!/labels/00002_labelTrainIds.png"]


def test_all_faults_are_said_at_once_also_by_workers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = {"image-unreadable", "depth-constant", "bank-missing", "label-is-jpeg"}
    for kind, plant, where, _ in FAULTS:
        if kind in planted and where != "data.val":
            plant()
    report = check()
    assert planted == {one["kind"] for one in report["findings"]}
    monkeypatch.setattr("mmseg.apis.data_check.scan.FEW", 1)
    assert check("--workers=1") == report


def test_config_that_does_not_load_is_a_finding(project: Path) -> None:
    (finding,) = check(config="configs/mine_too")["findings"]
    assert finding["kind"] == "config" and "configs/mine.py" in finding["sentence"]
    configure("\ndata.update(val=3)")
    assert [one["kind"] for one in check()["findings"]] == ["config"]


CELL = (SAMPLE + 22 + 6, SAMPLE + 6)


@pytest.mark.parametrize(
    ("config", "columns"), [("mine", 5), ("demo/daformer", 3), ("supervised", 4)]
)
def test_picture_has_eight_samples(config: str, columns: int, project: Path) -> None:
    """Four rows of: source image, label, depth, target image, depth; or twice image and label."""
    Path("configs/supervised.py").write_text(
        'from mmseg.config import load_config\n_cfg = load_config("configs/demo/source_only")\n'
        'model, data = _cfg["model"], _cfg["data"]\ndata["train"] = data["train"]["source"]\n'
        'runner, optimizer = _cfg["runner"], _cfg["optimizer"]\n'
    )
    report = check("--picture=samples.png", config=f"configs/{config}")
    assert not [one for one in report["findings"] if one["where"] == "config"]
    picture = cv2.imread("samples.png")
    assert picture is not None
    assert picture.shape == (4 * CELL[0] + 6, columns * CELL[1] + 6, 3)
    cells = {
        picture[y * CELL[0] + 28 :, x * CELL[1] + 6 :][:SAMPLE, :SAMPLE].tobytes()
        for y in range(4)
        for x in range(columns)
    }
    assert len(cells) == 4 * columns


def test_both_outputs_into_one_file_are_refused(project: Path) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        check("--picture=check.json")


def test_without_good_images_there_is_no_picture(project: Path, capsys: Any) -> None:
    all_of("gta/labels/*_labelTrainIds.png", put(26))
    check("--picture=samples.png")
    assert "'samples.png' is not drawn" in capsys.readouterr().out
    assert not Path("samples.png").exists()
