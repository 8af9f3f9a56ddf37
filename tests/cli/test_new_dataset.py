"""Own pictures become configs that train: what is found, what is chosen, what is refused."""

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demo_project import ROOT, run
from PIL import Image

import run_seg
from mmseg.apis.checks import check_run
from mmseg.cli.new_dataset import NewDatasetOptions, new_dataset_command
from mmseg.config import Config, load_config
from mmseg.datasets import build_dataset
from mmseg.preprocessing.new_dataset import choosing, roles
from tools import check_data, new_dataset
from tools import test as test_tool
from tools import train as train_tool

HEIGHT, WIDTH, BLOCK = 64, 96, 4
SHORT = ["runner.max_iters=2", "data.workers_per_gpu=0", "evaluation.interval=2"]
RED = [200, 30, 30]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(array.dtype if array.dtype == np.uint16 else np.uint8)).save(path)


def write(
    root: Path, layout: str, count: int, values: Any, colors: Any = None, start: int = 0
) -> None:
    """Write images, labels of blocks, and depth; `layout` has the word KIND."""
    rng = np.random.default_rng(start)
    shape = (HEIGHT // BLOCK, WIDTH // BLOCK)
    for number in range(start, start + count):
        blocks = rng.permutation(np.resize(values, shape[0] * shape[1])).reshape(shape)
        label = np.kron(blocks, np.ones((BLOCK, BLOCK), int))
        image = rng.integers(0, 99, (HEIGHT, WIDTH, 3)) + label[..., None] % 2 * 99
        stored = label if colors is None else np.array(colors)[label]
        for kind, array, suffix in (
            ("images", image, ".jpg"),
            ("labels", stored, ".png"),
            ("depth", np.sort(rng.integers(0, 256, (HEIGHT, WIDTH)), 0), ".png"),
        ):
            save(root / f"{layout.replace('KIND', kind)}/{number}{suffix}", array)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Source with two colors, photos alone, and a dataset of 150 ids with depth in parts."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "street", "KIND", 6, [0, 1], [[0, 0, 0], RED])
    write(tmp_path / "test", "KIND", 3, [0, 1], [[0, 0, 0], RED], start=50)
    for kind in ("street/depth", "test/depth"):
        shutil.rmtree(kind)
    write(tmp_path / "shot", "KIND", 5, [0, 1], start=90)
    Path("shot/images").rename("photos")
    for name in ("many", "shots"):
        write(tmp_path / name, "KIND/train", 6, np.arange(150))
        write(tmp_path / name, "KIND/val", 2, np.arange(90), start=70)
    return tmp_path


def call(capsys: Any, *words: str) -> str:
    assert new_dataset.main([*words]) == 0
    return capsys.readouterr().out


def refusal(*words: str) -> str:
    with pytest.raises(SystemExit) as end:
        new_dataset.main([*words])
    return str(end.value)


def loaded(name: str = "cdda") -> Config:
    return load_config(f"configs/mine/{name}")


WORKED = {
    "two colors": ["street", "photos", "--val", "test"],
    "150 ids with depth": ["many", "shots"],
}


@pytest.mark.parametrize("worked", WORKED)
def test_from_pictures_to_an_evaluated_network_without_python(
    worked: str, folder: Path, capsys: Any
) -> None:
    said = call(capsys, *WORKED[worked], "--model", "b0", "--out", "configs/mine")
    made = re.findall(r"make_depth\.py (\S+) --out (\S+)", said)
    assert bool(made) == (worked == "two colors")
    for images, maps in made:  # in the place of the command, which needs a network
        for image in Path(images).rglob("*.jpg"):
            ramp = np.tile(np.arange(HEIGHT)[:, None] * 3, (1, WIDTH))
            save(Path(maps, image.relative_to(images)).with_suffix(".png"), ramp)
    config, bank = "configs/mine/cdda", Path("preprocessed/mine/folder_6_distribution.pth")
    assert check_data.main(["configs/mine/daformer", "--workers", "0"]) == 0
    assert run_seg.main(["--config", config, "--num-workers", "0"]) == 0
    assert torch.load(bank).shape == (6, 2 if made else 150, 256)
    assert check_data.main([config, "--workers", "0"]) == 0
    train_tool.main([config, "--work-dir", "run", "--cfg-options", *SHORT])
    test_tool.main([config, "run/latest.pth", "--eval", "mIoU", "--show-dir", "preds"])
    assert "mIoU" in json.loads(next(Path("run").glob("*.log.json")).read_text().splitlines()[-1])
    assert len(list(Path("preds").glob("*.png"))) == (3 if made else 2)


def test_all_configs_are_whole_and_say_what_was_found(folder: Path, capsys: Any) -> None:
    said = call(capsys, *WORKED["two colors"], "--out", "configs/mine")
    assert f"6 images *.jpg in '{Path('street/images')}', with labels *.png" in said
    assert "2 colors in 6 labels: [0, 0, 0] 50 %, [200, 30, 30] 50 %" in said
    assert "size 96x64" in said and "depth: none" in said and "pretrained/mit_b5.pth" in said
    for name in ("source_only", "daformer", "mic", "cdda"):
        run = check_run(loaded(name))
        assert run.model["decode_head"]["num_classes"] == 2
        assert run.model["pretrained"] == "pretrained/mit_b5.pth"
    cfg = loaded()
    assert [one["color"] for one in cfg.data.train.source.classes] == [[0, 0, 0], RED]
    assert cfg.crop_size == (64, 64)
    assert cfg.uda.dataset == "folder"
    assert cfg.uda.matrix_path == "preprocessed/mine/folder_6_distribution.pth"
    assert cfg.data.val == cfg.data.test


def test_a_part_of_a_labeled_target_is_held_out_for_evaluation(folder: Path, capsys: Any) -> None:
    said = call(capsys, "street", "test", "--out", "configs/mine")
    assert "Every fourth image with a label is evaluated on, and not adapted to." in said
    listed = [Path(f"configs/mine/{part}_images.txt").read_text() for part in ("target", "val")]
    assert listed == ["51\n52\n", "50\n"]
    data = loaded().data
    assert data.val.ann_dir == "labels" and data.val.split.endswith("mine/val_images.txt")
    assert data.train.target.split.endswith("mine/target_images.txt")
    assert check_data.main(["configs/mine/daformer", "--workers", "0"]) == 0


def test_without_labels_of_the_target_nothing_is_evaluated(folder: Path, capsys: Any) -> None:
    assert "Evaluation: none." in call(capsys, "street", "photos", "--out", "configs/mine")
    assert "val" not in loaded().data and "ann_dir" not in loaded().data.test


def test_archives_are_read_in_place(folder: Path, capsys: Any) -> None:
    call(capsys, "many", "shots", "--out", "configs/mine")
    plain = loaded().data.to_dict()
    Path("zips").mkdir()
    for name, place in (("many", "many.zip"), ("shots", "zips/shots.zip")):
        with zipfile.ZipFile(place, "w") as archive:
            for file in Path(name).rglob("*.*"):
                archive.write(file, file.relative_to(name))
    call(capsys, "many.zip", "zips", "--out", "configs/mine", "--overwrite")
    text = str(loaded().data.to_dict()).replace("many.zip!", "many")
    assert text.replace("zips/*.zip!", "shots") == str(plain)


def test_a_table_names_the_classes_and_what_it_lacks_is_ignored(folder: Path, capsys: Any) -> None:
    Path("classes.csv").write_text("name,id\nsky,3;4\nroad,5\ncow,999\n")
    said = call(capsys, "many", "shots", "--classes", "classes.csv", "--out", "configs/mine")
    assert "no pixel of cow" in said and "ignored, of no class: 0, 1, 2, 6" in said
    source = loaded().data.train.source
    assert source.ignored_ids == "others"
    assert [one["name"] for one in source.classes] == ["sky", "road", "cow"]
    assert "No class has 0, 1, 2, 6" in Path("configs/mine/data.py").read_text()
    assert refusal("street", "photos", "--classes", "classes.csv", "--out", "x").startswith(
        "ConfigError: expected a color for each class in classes.csv"
    )


def test_images_without_a_label_are_left_out_by_a_list(folder: Path, capsys: Any) -> None:
    Path("street/labels/4.png").unlink()
    said = call(capsys, "street", "photos", "--out", "configs/mine")
    assert "images without a label, not used: 1, such as '4.jpg'" in said
    listed = Path("configs/mine/source_images.txt")
    assert listed.read_text().split() == ["0", "1", "2", "3", "5"]
    assert Path(loaded().data.train.source.split) == listed.absolute()


@pytest.mark.parametrize(
    ("values", "dtype", "names"),
    [([0, 255], np.uint8, 2), ([1, 9, 255], np.uint8, 2), ([7, 300, 5000], np.uint16, 3)],
)
def test_ids_that_count(
    values: list[int], dtype: Any, names: int, folder: Path, capsys: Any
) -> None:
    for file in Path("street/labels").iterdir():
        save(file, np.resize(np.repeat(values, 99), (HEIGHT, WIDTH)).astype(dtype))
    call(capsys, "street", "photos", "--out", "configs/mine")
    classes = loaded().data.train.source.classes
    assert [one["id"] for one in classes] == values[:names]


@pytest.mark.parametrize("images", ["a", "images"])
def test_folders_are_found_by_their_pictures_too(images: str, folder: Path, capsys: Any) -> None:
    Path("street/images").rename(f"street/{images}")
    Path("street/labels").rename("street/b")
    shutil.copytree("photos", "all/train")
    shutil.copytree("photos", "all/val")
    call(capsys, "street", "all", "--out", "configs/mine")
    source, target = (loaded().data.train[part] for part in ("source", "target"))
    assert (source.img_dir, source.ann_dir, target.img_dir) == (images, "b", "train")


@pytest.mark.parametrize("ends", [("{}.jpg", "{}.png"), ("{}.png", "{}_mask.png")])
def test_labels_may_lie_beside_their_images(ends: Any, folder: Path, capsys: Any) -> None:
    for kind, end in zip(("images", "labels"), ends, strict=True):
        for file in Path(f"street/{kind}").iterdir():
            save(Path("mixed", end.format(file.stem)), np.array(Image.open(file)))
    said = call(capsys, "mixed", "photos", "--out", "configs/mine")
    assert "2 colors in 6 labels" in said and "other pictures" not in said
    dataset = build_dataset(loaded().data.train.source.to_dict() | {"dep_dir": None})
    assert len(dataset) == 6
    assert {*np.unique(dataset.gt_label(1))} == {0, 1}


@pytest.mark.parametrize(
    ("names", "role", "part", "found"),
    [
        (["leftImg8bit/train/a/1.png", "leftImg8bit/val/b/1.png"], "images", "train", "train"),
        (["leftImg8bit/train/a/1.png", "leftImg8bit/val/b/1.png"], "images", "val", "val"),
        (["training/images/1.png", "validation/images/1.png"], "images", "val", "images"),
        (["RGB/1.png", "GT/LABELS/1.png"], "labels", "train", "GT"),
        (["my_depth_any/1.png", "images/1.png"], "depth", "val", "my_depth_any"),
    ],
)
def test_folders_are_found_by_their_names(
    names: list[str], role: str, part: str, found: str
) -> None:
    assert roles.named(names, role, part)[0].split("/")[-1] == found


def test_a_rare_class_can_be_drawn_and_a_large_image_is_scaled() -> None:
    look = choosing.LabelLook("ids", 2, 1914 * 1052)
    look.pixels.update({0: 10**6, 4: 90})
    look.most.update({0: 10**6, 4: 61})
    domain = choosing.Domain("s", "i", "l", ".png", ".png", {"a.png": "a"})
    classes = choosing.choose_classes(look, None)
    large = choosing.Counter({(2048, 1024): 3, (64, 32): 1})
    made = choosing.choose(classes, look, domain, large, choosing.Counter({(500, 400): 1}))
    assert (made.min_pixels, made.source_scale, made.crop) == (30, (1280, 640), 384)
    look.most[4] = 10**5
    made = choosing.choose(classes, look, domain, large, large)
    assert (made.min_pixels, made.crop) == (3000, 512)


def damaged_depth(folder: Path) -> None:
    save(folder / "many/depth/train/0.png", np.zeros((5, 7)))


def jpeg_labels(folder: Path) -> None:
    for file in (folder / "street/labels").iterdir():
        Image.open(file).save(file.with_suffix(".jpg"))
        file.unlink()


def renamed_labels(folder: Path) -> None:
    for number, file in enumerate(sorted((folder / "street/labels").iterdir())):
        file.rename(file.with_name(f"{'ab'[number % 2]}x{number + 500}y.png"))


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        ("street none", None, "expected TARGET to be a folder, or .* at 'none'. Correct the path"),
        ("photos street", None, "expected a folder of labels in SOURCE.*--labels or --val-labels"),
        ("street photos --images pics", None, r"folder of images of SOURCE at 'street.pics', got"),
        ("street photos", jpeg_labels, "expected a label as PNG .* got a JPEG"),
        ("street photos", renamed_labels, "expected labels called like the images in SOURCE"),
        ("many shots --depth depth/train", damaged_depth, r"got shape \(5, 7\) in '0.png' for"),
        ("street photos --name a/b", None, "expected a --name of letters"),
        ("street photos --out street/images/x", None, "a folder of configs outside of what the"),
        ("street photos --val photos", None, "expected a folder of labels in --val"),
    ],
)
def test_what_cannot_be_used_ends_with_a_sentence(
    words: str, change: Any, message: str, folder: Path
) -> None:
    if change is not None:
        change(folder)
    before = sorted(folder.rglob("*"))
    assert re.search(message, refusal("--out", "configs/mine", *words.split()))
    assert [path for path in sorted(folder.rglob("*")) if path.name != "configs"] == before


def test_nothing_is_overwritten_unless_asked_for(folder: Path, capsys: Any) -> None:
    call(capsys, "street", "photos", "--out", "configs/mine")
    mine = Path("configs/mine/mic.py")
    mine.write_text("# mine\n")
    assert "got them there: they may hold changes" in refusal(
        "street", "photos", "--out", "configs/mine"
    )
    assert mine.read_text() == "# mine\n"
    call(capsys, "street", "photos", "--out", "configs/mine", "--overwrite")
    assert "MIC" in mine.read_text()


def test_bases_are_named_from_where_the_configs_lie(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(out: str) -> str:
        options = NewDatasetOptions(source="street", target="photos", out=Path(out), overwrite=True)
        new_dataset_command(options, say=lambda line: None)
        return re.findall(r'"(.*)/default_runtime', Path(out, "daformer.py").read_text())[0]

    assert written("elsewhere") == "configs/_base_"  # the program's own, by name
    shutil.copytree(ROOT / "configs/_base_", "configs/_base_")
    assert written("configs/mine") == "../_base_"
    assert written("a/b/mine") == "../../../configs/_base_"


PAGE = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
FEWER = {
    "make_demo_data": "--source-images 12 --target-images 4 --size 96x64 --nproc 1",
    "check_data": "--workers 0",
    "train": "--cfg-options runner.max_iters=2 data.workers_per_gpu=0",
}


def test_the_worked_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the ten images of the section below it."""
    monkeypatch.chdir(tmp_path)
    Path("tools").symlink_to(ROOT / "tools")
    (table,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    Path("classes.csv").write_text(table)
    worked, ten = re.findall(r"```shell\n(.*?)```", PAGE, re.DOTALL)[1:]
    for number, command in enumerate([*worked.splitlines(), *ten.splitlines()]):
        if number == 5:
            names = [str(path.stem) for path in Path("data/demo/gta/images").iterdir()]
            Path("data/demo/gta/ten.txt").write_text("\n".join(sorted(names)[:10]))
        fewer = next((more for tool, more in FEWER.items() if f"/{tool}.py" in command), "")
        done = run(tmp_path, f"{command} {fewer}")
        assert done.status == 0, done.text
        if "--eval" in command:
            assert all(name in done.text for name in ("road", "vehicle", "mIoU"))
    assert len(list(Path("work_dirs/ten").glob("*.pth"))) > 0


def test_the_python_of_the_page_runs(folder: Path) -> None:
    sections, *lists, code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert [compile(text, "the page", "exec") for text in lists]
    published: dict[str, Any] = {}
    exec(sections, published)
    kinds = {value["type"] for name, value in published.items() if name != "__builtins__"}
    assert kinds == {f"{name}Dataset" for name in ("GTA", "Synthia", "Cityscapes", "ACDC")}
    exec(code, {})
    Path("street/arrays").mkdir()
    np.save("street/arrays/0_label.npy", np.ones((HEIGHT, WIDTH)))
    words = {"data_root": "street", "img_dir": "images", "ann_dir": "arrays"}
    steps = [{"type": "LoadImageFromFile"}]
    dataset = build_dataset({"type": "StreetDataset", **words, "pipeline": steps}, test_mode=True)
    assert (dataset.gt_label(0) == 1).all()
